import { describeErrno, isErrnoName, SyscallError } from "../../syscalls/abi/errno.ts";

/** The Linux error of what a Node call threw; EIO for what has no Linux name. */
export function asSyscallError(error: unknown): SyscallError {
  if (error instanceof SyscallError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "EOPNOTSUPP") return new SyscallError("ENOTSUP");
  // Node refuses arguments (a negative length, say) before the kernel would.
  if (code.startsWith("ERR_")) return new SyscallError("EINVAL");
  if (isErrnoName(code)) return new SyscallError(code);
  // libuv has no name for many errors ("Unknown system error -77"); their negative numbers are Linux's only on Linux.
  const number = error instanceof Error && "errno" in error ? Number(error.errno) : 0;
  return new SyscallError((process.platform === "linux" && describeErrno(-number)?.name) || "EIO");
}

/** Runs a Node call and turns what it throws into a SyscallError. No stack is recorded (see there). */
export function attempt<T>(run: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return run();
  } catch (error) {
    throw asSyscallError(error);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
