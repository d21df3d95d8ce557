// What of the page's state is in its address, behind "#", so that it can be linked.

export const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

// Leaves out what is empty. Does not count as another page: "Back" leaves the page.
export function write(state) {
  const text = new URLSearchParams(Object.entries(state).filter(([, value]) => value)).toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}
