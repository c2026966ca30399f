/**
 * Why memory was refused that Linux might have given: it would be more in all than is allowed (`limit`), more than the
 * machine has (`machine`), or part of it is the emulator's own (`frames`).
 */
export interface Refusal {
  readonly kind: "limit" | "machine" | "frames";
  /** Bytes asked for, and those that it had already. */
  readonly bytes: number;
  readonly before: number;
}

/** Why a request for memory was refused; the names are those of the errno that Linux returns. */
export class MemoryError extends Error {
  readonly code: "ENOMEM" | "EINVAL" | "EEXIST" | "EFAULT";
  readonly refusal: Refusal | undefined;

  constructor(code: "ENOMEM" | "EINVAL" | "EEXIST" | "EFAULT", refusal?: Refusal) {
    super(code);
    this.code = code;
    this.refusal = refusal;
  }
}
