import { REGISTERS, type Register, type RegisterFeature } from "../debugger/registers.ts";

/** Types that gdb does not have by itself (gdb/features/i386/64bit-core.xml, 64bit-sse.xml). */
const EFLAGS = flags("i386_eflags", {
  "": 1,
  CF: 0,
  PF: 2,
  AF: 4,
  ZF: 6,
  SF: 7,
  TF: 8,
  IF: 9,
  DF: 10,
  OF: 11,
  NT: 14,
  RF: 16,
  VM: 17,
  AC: 18,
  VIF: 19,
  VIP: 20,
  ID: 21,
});
const MXCSR = flags("i386_mxcsr", {
  IE: 0,
  DE: 1,
  ZE: 2,
  OE: 3,
  UE: 4,
  PE: 5,
  DAZ: 6,
  IM: 7,
  DM: 8,
  ZM: 9,
  OM: 10,
  UM: 11,
  PM: 12,
  FZ: 15,
});

/** Views of an XMM register: name, element type, count. */
const VECTORS: readonly [string, string, number][] = [
  ["v8_bfloat16", "bfloat16", 8],
  ["v8_half", "ieee_half", 8],
  ["v4_float", "ieee_single", 4],
  ["v2_double", "ieee_double", 2],
  ["v16_int8", "int8", 16],
  ["v8_int16", "int16", 8],
  ["v4_int32", "int32", 4],
  ["v2_int64", "int64", 2],
];

function flags(name: string, bits: Record<string, number>): string {
  const fields = Object.entries(bits).map(([field, bit]) => `<field name="${field}" start="${bit}" end="${bit}"/>`);
  return `<flags id="${name}" size="4">${fields.join("")}</flags>`;
}

const VECTOR_TYPES = [
  ...VECTORS.map(([id, type, count]) => `<vector id="${id}" type="${type}" count="${count}"/>`),
  `<union id="vec128">${VECTORS.map(([id]) => `<field name="${id}" type="${id}"/>`).join("")}`,
  `<field name="uint128" type="uint128"/></union>`,
].join("");

const TYPES: Partial<Record<RegisterFeature, string>> = { core: EFLAGS, sse: VECTOR_TYPES + MXCSR };

function line({ name, bits, type, group }: Register, number: number): string {
  return `<reg name="${name}" bitsize="${bits}" type="${type}" regnum="${number}"${group ? ` group="${group}"` : ""}/>`;
}

function feature(name: RegisterFeature): string {
  const registers = REGISTERS.map((register, number) => ({ register, number }))
    .filter(({ register }) => register.feature === name)
    .map(({ register, number }) => line(register, number));
  return `<feature name="org.gnu.gdb.i386.${name}">${TYPES[name] ?? ""}${registers.join("")}</feature>`;
}

/** The description by which gdb knows an amd64 GNU/Linux target (gdb manual, "Target Descriptions"). */
export const TARGET_XML = [
  `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">`,
  "<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>",
  ...(["core", "sse", "linux", "segments", "avx"] as const).map(feature),
  "</target>",
].join("");
