/**
 * Instructions that a region may have: V8 optimizes very large functions poorly, and a compilation must not stall the guest.
 * In a file of its own, since who decides what is compiled is there from the start, and region.ts brings all semantics with it.
 */
export const MAX_INSTRUCTIONS = 2600;
