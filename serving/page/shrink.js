// Large photographs are made smaller before they are sent: no model here looks at so many pixels.

const BYTES = 2 << 20; // a file of fewer is sent as it is
const SIDE = 2048; // the longer one, in pixels, of what is sent instead

// The file, or a smaller picture of it, upright and over white, as the server would make it.
export async function shrunk(file) {
  if (file.size <= BYTES) return file;
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file; // not for this browser; the server says what it takes
  }
  const scale = SIDE / Math.max(picture.width, picture.height);
  if (scale >= 1) return file;
  const sides = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = Object.assign(document.createElement("canvas"), { width: sides[0], height: sides[1] });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, ...sides);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, ...sides);
  picture.close();
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.95));
}
