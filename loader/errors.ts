/**
 * What kind of input a file turned out to be when it is not something goemu can run.
 * One kind a case, so that callers and tests need not read messages.
 */
export type LoadErrorKind =
  | "empty"
  | "script"
  | "text"
  | "not-elf"
  | "other-os"
  | "truncated"
  | "elf32"
  | "machine"
  | "object"
  | "shared-library"
  | "core"
  | "dynamic"
  | "segments"
  | "malformed";

/** The exit status of a shell for a file that is there but cannot be executed (POSIX sh, 2.8.2). */
export const CANNOT_EXECUTE_STATUS = 126;

/** A file that cannot be run. `message` says what is wrong with it, `hint` what the user can do. */
export class LoadError extends Error {
  override readonly name = "LoadError";
  readonly kind: LoadErrorKind;
  readonly hint: string;
  readonly exitStatus = CANNOT_EXECUTE_STATUS;

  constructor(kind: LoadErrorKind, message: string, hint: string) {
    super(message);
    this.kind = kind;
    this.hint = hint;
  }
}

/** Symbol, line or build information that is damaged or of an unknown form. The program itself may still run. */
export class SymbolError extends Error {
  override readonly name = "SymbolError";
}
