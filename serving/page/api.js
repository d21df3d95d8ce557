// How the page talks to the service: JSON, pages and event streams, with the API key where one was given.

const KEY = "api-key"; // in sessionStorage: for this tab only, until it is closed

export const getKey = () => sessionStorage.getItem(KEY) ?? "";
export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

// The response to `path`, relative to the page, which a proxy may serve below a prefix. Throws an error whose message is
// the problem's detail, with the answer's status and the argument at fault if there was an answer.
export async function api(path, options = {}) {
  const headers = new Headers(options.headers);
  if (getKey()) headers.set("Authorization", `Bearer ${getKey()}`);
  let response;
  try {
    response = await fetch(path.replace(/^[/]/, ""), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? response.statusText), { status: response.status, argument: problem.argument });
}

export const json = async (path, options) => (await api(path, options)).json();

// Call `receive` with the data of every event of the stream at `path`, until it ends. EventSource cannot send headers.
export async function events(path, receive, signal) {
  const response = await api(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data:"));
      if (data) receive(JSON.parse(data.slice(5)));
    }
  }
}
