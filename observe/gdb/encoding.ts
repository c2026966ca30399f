/** Text and numbers in packets. */

/** A number in hexadecimal; undefined if the text is none, or too large to be exact. */
export function parseHex(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9a-f]{1,16}$/i.test(text)) return undefined;
  const value = Number.parseInt(text, 16);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Numbers between semicolons. */
export const parseList = (text: string): number[] => text.split(";").flatMap((item) => parseHex(item) ?? []);
export const byteHex = (value: number): string => (value & 0xff).toString(16).padStart(2, "0");

/** Eight bytes. */
export function littleEndian(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** Bytes behind a character. */
export function prefixed(prefix: string, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length + 1);
  out[0] = prefix.charCodeAt(0);
  out.set(bytes, 1);
  return out;
}
