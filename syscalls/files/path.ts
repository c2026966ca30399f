/**
 * Linux paths are bytes without NUL. Inside goemu they are strings with one character a byte (Latin-1), which keeps
 * every name exact and still lets us compare, split and join them.
 */
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Bytes as a byte string. */
export function bytesToPath(bytes: Uint8Array): string {
  let path = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    // Spreading goes through an iterator.
    const piece = bytes.subarray(at, at + 8192) as unknown as number[];
    path += String.fromCharCode.apply(null, piece);
  }
  return path;
}

export function pathToBytes(path: string): Uint8Array {
  const bytes = new Uint8Array(path.length);
  for (let i = 0; i < path.length; i++) bytes[i] = path.charCodeAt(i);
  return bytes;
}

/** The byte string of a text in UTF-8. */
export function textToPath(text: string): string {
  return bytesToPath(encoder.encode(text));
}

/** A byte string for a reader: UTF-8 where it is, replacement characters where not. */
export function pathToText(path: string): string {
  return decoder.decode(pathToBytes(path));
}
