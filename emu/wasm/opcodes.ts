/** What follows an opcode in the binary format. */
export type Immediate =
  | "none"
  /** A block type. */
  | "block"
  | "label"
  /** br_table's labels. */
  | "labels"
  | "function"
  /** A type and a table. */
  | "indirect"
  /** select's list of types. */
  | "types"
  | "local"
  | "global"
  | "table"
  /** Alignment and offset. */
  | "memory"
  /** Alignment, offset and a lane. */
  | "memoryLane"
  /** As many memory indices, which are 0. */
  | "memoryIndex"
  | "memoryIndices"
  | "i32"
  | "i64"
  | "f32"
  | "f64"
  | "v128"
  | "lane"
  | "lanes"
  | "heapType";

export interface Opcode {
  /** As the text format has it. */
  readonly name: string;
  readonly immediate: Immediate;
}

/** Opcodes behind a prefix byte are written as prefix << 12 | code, as in expr.ts. */
const MISC = 0xfc << 12;
const SIMD = 0xfd << 12;

const spread = (shape: string, names: string): string =>
  names
    .split(" ")
    .map((name) => `${shape}.${name}`)
    .join(" ");
const SIGNED_COMPARES = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const FLOAT_COMPARES = "eq ne lt gt le ge";
const INTEGER = "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr";
const FLOAT = "abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign";
const LANE_FLOAT = "add sub mul div min max pmin pmax";

/** Runs of opcodes: the first, what follows each, their names (core spec, 5.4). */
const RUNS: readonly (readonly [first: number, immediate: Immediate, names: string])[] = [
  [0x00, "none", "unreachable nop"],
  [0x02, "block", "block loop if"],
  [0x05, "none", "else"],
  [0x0b, "none", "end"],
  [0x0c, "label", "br br_if"],
  [0x0e, "labels", "br_table"],
  [0x0f, "none", "return"],
  [0x10, "function", "call"],
  [0x11, "indirect", "call_indirect"],
  [0x12, "function", "return_call"],
  [0x13, "indirect", "return_call_indirect"],
  [0x1a, "none", "drop select"],
  [0x1c, "types", "select"],
  [0x20, "local", "local.get local.set local.tee"],
  [0x23, "global", "global.get global.set"],
  [0x25, "table", "table.get table.set"],
  [0x28, "memory", "i32.load i64.load f32.load f64.load"],
  [0x2c, "memory", spread("i32", "load8_s load8_u load16_s load16_u")],
  [0x30, "memory", spread("i64", "load8_s load8_u load16_s load16_u load32_s load32_u")],
  [0x36, "memory", "i32.store i64.store f32.store f64.store"],
  [0x3a, "memory", "i32.store8 i32.store16 i64.store8 i64.store16 i64.store32"],
  [0x3f, "memoryIndex", "memory.size memory.grow"],
  [0x41, "i32", "i32.const"],
  [0x42, "i64", "i64.const"],
  [0x43, "f32", "f32.const"],
  [0x44, "f64", "f64.const"],
  [0x45, "none", spread("i32", `eqz ${SIGNED_COMPARES}`)],
  [0x50, "none", spread("i64", `eqz ${SIGNED_COMPARES}`)],
  [0x5b, "none", spread("f32", FLOAT_COMPARES)],
  [0x61, "none", spread("f64", FLOAT_COMPARES)],
  [0x67, "none", spread("i32", INTEGER)],
  [0x79, "none", spread("i64", INTEGER)],
  [0x8b, "none", spread("f32", FLOAT)],
  [0x99, "none", spread("f64", FLOAT)],
  [0xa7, "none", spread("i32", "wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u")],
  [0xac, "none", spread("i64", "extend_i32_s extend_i32_u trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u")],
  [0xb2, "none", spread("f32", "convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64")],
  [0xb7, "none", spread("f64", "convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32")],
  [0xbc, "none", "i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64"],
  [0xc0, "none", "i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s"],
  [0xd0, "heapType", "ref.null"],
  [0xd1, "none", "ref.is_null"],
  [0xd2, "function", "ref.func"],

  [MISC | 0x00, "none", spread("i32", "trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u")],
  [MISC | 0x04, "none", spread("i64", "trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u")],
  [MISC | 0x0a, "memoryIndices", "memory.copy"],
  [MISC | 0x0b, "memoryIndex", "memory.fill"],

  [SIMD | 0x00, "memory", spread("v128", "load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u")],
  [SIMD | 0x07, "memory", spread("v128", "load8_splat load16_splat load32_splat load64_splat store")],
  [SIMD | 0x0c, "v128", "v128.const"],
  [SIMD | 0x0d, "lanes", "i8x16.shuffle"],
  [SIMD | 0x0e, "none", "i8x16.swizzle i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat"],
  [SIMD | 0x15, "lane", spread("i8x16", "extract_lane_s extract_lane_u replace_lane")],
  [SIMD | 0x18, "lane", spread("i16x8", "extract_lane_s extract_lane_u replace_lane")],
  [SIMD | 0x1b, "lane", "i32x4.extract_lane i32x4.replace_lane i64x2.extract_lane i64x2.replace_lane"],
  [SIMD | 0x1f, "lane", "f32x4.extract_lane f32x4.replace_lane f64x2.extract_lane f64x2.replace_lane"],
  [SIMD | 0x23, "none", spread("i8x16", SIGNED_COMPARES)],
  [SIMD | 0x2d, "none", spread("i16x8", SIGNED_COMPARES)],
  [SIMD | 0x37, "none", spread("i32x4", SIGNED_COMPARES)],
  [SIMD | 0x41, "none", spread("f32x4", FLOAT_COMPARES)],
  [SIMD | 0x47, "none", spread("f64x2", FLOAT_COMPARES)],
  [SIMD | 0x4d, "none", spread("v128", "not and andnot or xor bitselect any_true")],
  [SIMD | 0x54, "memoryLane", spread("v128", "load8_lane load16_lane load32_lane load64_lane")],
  [SIMD | 0x58, "memoryLane", spread("v128", "store8_lane store16_lane store32_lane store64_lane")],
  [SIMD | 0x5c, "memory", "v128.load32_zero v128.load64_zero"],
  [SIMD | 0x5e, "none", "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4"],
  [SIMD | 0x60, "none", spread("i8x16", "abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u")],
  [SIMD | 0x67, "none", spread("f32x4", "ceil floor trunc nearest")],
  [SIMD | 0x6b, "none", spread("i8x16", "shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u")],
  [SIMD | 0x74, "none", "f64x2.ceil f64x2.floor"],
  [SIMD | 0x76, "none", spread("i8x16", "min_s min_u max_s max_u")],
  [SIMD | 0x7a, "none", "f64x2.trunc i8x16.avgr_u"],
  [SIMD | 0x7c, "none", spread("i16x8", "extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u")],
  [SIMD | 0x7e, "none", spread("i32x4", "extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u")],
  [SIMD | 0x80, "none", spread("i16x8", "abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u")],
  [SIMD | 0x87, "none", spread("i16x8", "extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u")],
  [SIMD | 0x8a, "none", spread("i16x8", "extend_high_i8x16_u shl shr_s shr_u add add_sat_s add_sat_u")],
  [SIMD | 0x91, "none", "i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u f64x2.nearest"],
  [SIMD | 0x95, "none", spread("i16x8", "mul min_s min_u max_s max_u")],
  [SIMD | 0x9b, "none", spread("i16x8", "avgr_u extmul_low_i8x16_s extmul_high_i8x16_s")],
  [SIMD | 0x9e, "none", spread("i16x8", "extmul_low_i8x16_u extmul_high_i8x16_u")],
  [SIMD | 0xa0, "none", "i32x4.abs i32x4.neg"],
  [SIMD | 0xa3, "none", "i32x4.all_true i32x4.bitmask"],
  [SIMD | 0xa7, "none", spread("i32x4", "extend_low_i16x8_s extend_high_i16x8_s")],
  [SIMD | 0xa9, "none", spread("i32x4", "extend_low_i16x8_u extend_high_i16x8_u shl shr_s shr_u add")],
  [SIMD | 0xb1, "none", "i32x4.sub"],
  [SIMD | 0xb5, "none", spread("i32x4", "mul min_s min_u max_s max_u dot_i16x8_s")],
  [SIMD | 0xbc, "none", spread("i32x4", "extmul_low_i16x8_s extmul_high_i16x8_s")],
  [SIMD | 0xbe, "none", spread("i32x4", "extmul_low_i16x8_u extmul_high_i16x8_u")],
  [SIMD | 0xc0, "none", "i64x2.abs i64x2.neg"],
  [SIMD | 0xc3, "none", "i64x2.all_true i64x2.bitmask"],
  [SIMD | 0xc7, "none", spread("i64x2", "extend_low_i32x4_s extend_high_i32x4_s")],
  [SIMD | 0xc9, "none", spread("i64x2", "extend_low_i32x4_u extend_high_i32x4_u shl shr_s shr_u add")],
  [SIMD | 0xd1, "none", "i64x2.sub"],
  [SIMD | 0xd5, "none", spread("i64x2", "mul eq ne lt_s gt_s le_s ge_s")],
  [SIMD | 0xdc, "none", spread("i64x2", "extmul_low_i32x4_s extmul_high_i32x4_s")],
  [SIMD | 0xde, "none", spread("i64x2", "extmul_low_i32x4_u extmul_high_i32x4_u")],
  [SIMD | 0xe0, "none", "f32x4.abs f32x4.neg"],
  [SIMD | 0xe3, "none", spread("f32x4", `sqrt ${LANE_FLOAT}`)],
  [SIMD | 0xec, "none", "f64x2.abs f64x2.neg"],
  [SIMD | 0xef, "none", spread("f64x2", `sqrt ${LANE_FLOAT}`)],
  [SIMD | 0xf8, "none", "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u"],
  [SIMD | 0xfa, "none", "f32x4.convert_i32x4_s f32x4.convert_i32x4_u"],
  [SIMD | 0xfc, "none", "i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero"],
  [SIMD | 0x105, "none", "f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd f64x2.relaxed_nmadd"],
  [SIMD | 0xfe, "none", "f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u"],
];

/**
 * The instructions of WebAssembly by opcode: all of version 1, sign extension, saturating conversions, tail calls and
 * 128-bit SIMD; of bulk memory and reference types what a module with one memory and one table can use.
 */
export const OPCODES: ReadonlyMap<number, Opcode> = new Map(
  RUNS.flatMap(([first, immediate, names]) =>
    names.split(" ").map((name, i): [number, Opcode] => [first + i, { name, immediate }]),
  ),
);

/** Bytes that a load or store accesses, which is its natural alignment: its name tells. */
export function accessBytes(name: string): number {
  const width = /(?:load|store)(\d+)(x\d)?/.exec(name);
  // An extending load reads 8 bytes in all, whatever its lanes.
  if (width !== null) return width[2] === undefined ? Number(width[1]) / 8 : 8;
  return { i32: 4, f32: 4, i64: 8, f64: 8 }[name.slice(0, 3)] ?? 16;
}
