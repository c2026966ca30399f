import type { F32, F64, LocalRef } from "../wasm/expr.ts";

/** Registers as bits of a mask: general registers 0–15, XMM registers 16–31. */
export type RegisterMask = number;
export const gprBit = (number: number): RegisterMask => 1 << number;
export const vectorBit = (number: number): RegisterMask => 1 << (16 + number);

/** What a block does to registers; found in a first pass over the region, used by the second. */
export interface BlockUse {
  /** Read before the block itself has certainly written them. */
  reads: RegisterMask;
  /** Certainly written. */
  defines: RegisterMask;
  /** Possibly written, and not yet stored to the CPU state. */
  dirties: RegisterMask;
  /** States of MXCSR that it relies on (`Knowledge.modes`), and whether it may change them. */
  readonly modes: Set<string>;
  changesModes: boolean;
}

export const noUse = (): BlockUse => ({ reads: 0, defines: 0, dirties: 0, modes: new Set(), changesModes: false });

/** How often a region uses an XMM register as a whole, and its low lane as a scalar. */
export interface VectorUse {
  whole: number;
  f64: number;
  f32: number;
}

/** What holds an XMM register: one v128, or beside it a local of its own for the low lane. */
export type VectorKind = "whole" | "f64" | "f32";

/** The better of the three for how a register is used. */
export function kindOf({ whole, f64, f32 }: VectorUse): VectorKind {
  if (f64 > f32) return f64 > whole ? "f64" : "whole";
  return f32 > whole ? "f32" : "whole";
}

/** A local that holds the low lane of an XMM register. */
export interface LowLane {
  readonly kind: "f64" | "f32";
  readonly local: LocalRef<typeof F64> | LocalRef<typeof F32>;
}
