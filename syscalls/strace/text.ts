import type { Bits, Names } from "./names.ts";

/** Bytes of a string that are shown (strace -s). */
export const SHOWN_BYTES = 32;

const ESCAPES: ReadonlyMap<number, string> = new Map([
  [0x22, '\\"'],
  [0x5c, "\\\\"],
  [0x0a, "\\n"],
  [0x09, "\\t"],
  [0x0d, "\\r"],
  [0x0b, "\\v"],
  [0x0c, "\\f"],
]);

const isOctalDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x37;

/** Bytes in C notation; octal escapes are as short as the next character allows (strace: string_quote). */
export function escapeBytes(bytes: Uint8Array): string {
  let text = "";
  bytes.forEach((byte, i) => {
    const escaped = ESCAPES.get(byte);
    if (escaped !== undefined) text += escaped;
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${isOctalDigit(bytes[i + 1]) ? byte.toString(8).padStart(3, "0") : byte.toString(8)}`;
  });
  return text;
}

/** Quoted bytes, cut at 32. @param length how many there are, if more than were given */
export function quote(bytes: Uint8Array, length = bytes.length): string {
  const cut = length > SHOWN_BYTES ? "..." : "";
  return `"${escapeBytes(bytes.subarray(0, SHOWN_BYTES))}"${cut}`;
}

export const hex = (value: bigint | number): string => (BigInt(value) === 0n ? "0" : `0x${value.toString(16)}`);
export const pointer = (value: bigint | number): string => (BigInt(value) === 0n ? "NULL" : `0x${value.toString(16)}`);
/** Octal as strace has it ("%#03o"): 022, 0644, 000. */
export const octal = (value: number): string => (value === 0 ? "000" : `0${value.toString(8).padStart(2, "0")}`);

/** Names of the bits set, unknown ones in hexadecimal; "0" for none. */
export function bits(value: number, names: Bits): string {
  const found: string[] = [];
  let rest = value >>> 0;
  for (const [bit, name] of names) {
    if ((rest & bit) >>> 0 !== bit >>> 0) continue;
    found.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest !== 0) found.push(`0x${rest.toString(16)}`);
  return found.join("|") || "0";
}

/** The name of a number, or the number with a comment that says what it is not. */
export function named(value: number, names: Names, kind: string): string {
  return names.get(value) ?? `${hex(value >>> 0)} /* ${kind}_??? */`;
}
