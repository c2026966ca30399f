import { HELPER_TABLES } from "../../layout.ts";

/** Constant tables in wasm memory, for semantics and helpers. */
export interface ConstantTable {
  readonly address: number;
  readonly bytes: Uint8Array;
}

const tables: ConstantTable[] = [];
let next = HELPER_TABLES;

/** Gives a table its place, aligned to 64 bytes; returns the address. */
function place(bytes: Uint8Array): number {
  const address = next;
  tables.push({ address, bytes });
  next += (bytes.length + 63) & ~63;
  return address;
}

/** The table of 32-bit little-endian words. */
const words = (values: ArrayLike<number>): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2; SDM Vol. 2A, GF2P8MULB). */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    if (b & (1 << bit)) product ^= a;
    a = (a << 1) ^ (a & 0x80 ? 0x11b : 0);
  }
  return product;
}

/** Inverses by way of powers of 3, which is a generator of the multiplicative group: 3^n × 3^(255 - n) = 1. */
function inversesOf(): Uint8Array {
  const powers = [1];
  while (powers.length < 255) powers.push(multiply(powers[powers.length - 1], 3));
  const result = new Uint8Array(256);
  for (const [n, power] of powers.entries()) result[power] = powers[(255 - n) % 255];
  return result;
}

const inverses = inversesOf();
/** SubBytes (FIPS 197, 5.1.1): the inverse, then an affine map. */
const substitution = inverses.map((x) => {
  const turned = (by: number): number => ((x << by) | (x >> (8 - by))) & 0xff;
  return x ^ turned(1) ^ turned(2) ^ turned(3) ^ turned(4) ^ 0x63;
});
const inverseSubstitution = new Uint8Array(256);
for (const [x, y] of substitution.entries()) inverseSubstitution[y] = x;

/** What each byte, substituted, adds to its column in MixColumns: products with the factors, the first lowest. */
function columns(substitutes: Uint8Array, factors: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(1024);
  for (let x = 0; x < 256; x++) for (let i = 0; i < 4; i++) bytes[4 * x + i] = multiply(substitutes[x], factors[i]);
  return bytes;
}

/** CRC-32C, reflected (SDM Vol. 2A, CRC32): table k advances a byte by k further zero bytes. */
function crcTables(): number[] {
  const all: number[] = [];
  for (let k = 0; k < 8; k++) {
    for (let i = 0; i < 256; i++) {
      let crc = k === 0 ? i : all[(k - 1) * 256 + i];
      if (k === 0) for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
      else crc = (crc >>> 8) ^ all[crc & 0xff];
      all.push(crc >>> 0);
    }
  }
  return all;
}

/** Addresses of the tables. */
export const TABLE = {
  /** The inverse of each byte in GF(2^8). */
  inverse: place(inverses),
  aesSubstitution: place(substitution),
  aesInverseSubstitution: place(inverseSubstitution),
  /** SubBytes and MixColumns of a byte; InvSubBytes and InvMixColumns. */
  aesColumn: place(columns(substitution, [2, 1, 1, 3])),
  aesInverseColumn: place(columns(inverseSubstitution, [14, 9, 13, 11])),
  /** Eight tables of 256 words. */
  crc32: place(words(crcTables())),
} as const;

/** All tables; copied to wasm memory before the first instruction runs. */
export const TABLES: readonly ConstantTable[] = tables;
