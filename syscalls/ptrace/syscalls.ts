import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { CAP } from "../abi/capabilities.ts";
import { SyscallError } from "../abi/errno.ts";
import { SI_USER, SIGNAL } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { peek } from "../memory/peek.ts";
import { encodeSigInfo } from "../signals/info.ts";
import { row } from "../table.ts";
import { setUserRegisters, USER_REGS_SIZE, userRegisters } from "./registers.ts";
import { EVENT, type Going, OPTION, Traced } from "./traced.ts";

/** Requests (include/uapi/linux/ptrace.h, arch/x86/include/uapi/asm/ptrace-abi.h). */
const PTRACE = {
  TRACEME: 0,
  PEEKTEXT: 1,
  PEEKDATA: 2,
  PEEKUSER: 3,
  POKETEXT: 4,
  POKEDATA: 5,
  POKEUSER: 6,
  CONT: 7,
  KILL: 8,
  SINGLESTEP: 9,
  GETREGS: 12,
  SETREGS: 13,
  ATTACH: 16,
  DETACH: 17,
  SYSCALL: 24,
  SETOPTIONS: 0x4200,
  GETEVENTMSG: 0x4201,
  GETSIGINFO: 0x4202,
  GETREGSET: 0x4204,
  SETREGSET: 0x4205,
} as const;
const GOING: ReadonlyMap<number, Going> = new Map([
  [PTRACE.CONT, "on"],
  [PTRACE.SYSCALL, "syscall"],
  [PTRACE.SINGLESTEP, "step"],
]);
const NT_PRSTATUS = 1;
/** Bytes of struct user (arch/x86/include/asm/user_64.h); of what lies behind the registers nothing is kept. */
const USER_SIZE = 928;
const OPTIONS =
  OPTION.TRACESYSGOOD | OPTION.EXITKILL | Object.values(EVENT).reduce((all, event) => all | (1 << event), 0);

/** May a process look into another (kernel/ptrace.c, __ptrace_may_access)? */
function mayAccess(process: LinuxProcess, target: LinuxProcess): boolean {
  const { user } = target.credentials;
  const isSame = [user.real, user.effective, user.saved].every((id) => id === process.credentials.user.real);
  return process === target || isSame || process.credentials.has(CAP.SYS_PTRACE);
}

function attach(process: LinuxProcess, target: LinuxThread): number {
  if (target.process === process || target.traced !== undefined || !mayAccess(process, target.process)) {
    throw new SyscallError("EPERM");
  }
  new Traced(target, process, 0);
  target.process.signals.sendToThread(target, { signal: SIGNAL.SIGSTOP, code: SI_USER, pid: 0, uid: 0 });
  return 0;
}

/** @throws SyscallError EIO where nothing is mapped */
function peekWord({ thread }: Traced, address: number): Uint8Array {
  const bytes = peek(thread.process.memory, address, 8);
  if (bytes.length < 8) throw new SyscallError("EIO");
  return bytes;
}

function poke({ thread }: Traced, address: number, bytes: Uint8Array): void {
  try {
    thread.process.memory.poke(address, bytes);
  } catch (error) {
    throw error instanceof GuestFault ? new SyscallError("EIO") : error;
  }
}

/** ptrace(2) (kernel/ptrace.c, arch/x86/kernel/ptrace.c). @throws SyscallError ESRCH, EPERM, EIO, EINVAL */
function ptrace(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [request, pid, address, data] = [args.i32(0), args.i32(1), args.address(2), args.address(3)];
  const { memory } = process;
  if (request === PTRACE.TRACEME) {
    if (thread.traced !== undefined || process.parent === undefined) throw new SyscallError("EPERM");
    new Traced(thread, process.parent, 0);
    return 0;
  }
  const target = process.kernel.threads.get(pid);
  if (target === undefined) throw new SyscallError("ESRCH");
  if (request === PTRACE.ATTACH) return attach(process, target);
  const { traced } = target;
  if (traced?.tracer !== process || traced.isLeft) throw new SyscallError("ESRCH");
  if (request === PTRACE.KILL) {
    target.process.signals.send({ signal: SIGNAL.SIGKILL, code: SI_USER, pid: process.pid, uid: process.uid });
    return 0;
  }
  if (traced.stop === undefined) throw new SyscallError("ESRCH");
  const going = GOING.get(request);
  if (going !== undefined || request === PTRACE.DETACH) {
    if (args.u64(3) > 64n) throw new SyscallError("EIO");
    if (going === undefined) traced.detach(data);
    else traced.resume(going, data);
    return 0;
  }
  switch (request) {
    case PTRACE.PEEKTEXT:
    case PTRACE.PEEKDATA:
      memory.writeBytes(data, peekWord(traced, address));
      return 0;
    case PTRACE.POKETEXT:
    case PTRACE.POKEDATA: {
      const word = new Uint8Array(8);
      new DataView(word.buffer).setBigUint64(0, args.u64(3), true);
      poke(traced, address, word);
      return 0;
    }
    case PTRACE.PEEKUSER:
    case PTRACE.POKEUSER: {
      if (address % 8 !== 0 || address >= USER_SIZE) throw new SyscallError("EIO");
      const user = new Uint8Array(USER_SIZE);
      user.set(userRegisters(target, traced));
      if (request === PTRACE.PEEKUSER) {
        memory.writeBytes(data, user.subarray(address, address + 8));
        return 0;
      }
      if (address >= USER_REGS_SIZE) throw new SyscallError("EIO");
      new DataView(user.buffer).setBigUint64(address, args.u64(3), true);
      setUserRegisters(target, traced, user);
      return 0;
    }
    case PTRACE.GETREGS:
      memory.writeBytes(data, userRegisters(target, traced));
      return 0;
    case PTRACE.SETREGS:
      setUserRegisters(target, traced, memory.readBytes(data, USER_REGS_SIZE));
      return 0;
    case PTRACE.GETREGSET:
    case PTRACE.SETREGSET: {
      if (address !== NT_PRSTATUS) throw new SyscallError("EINVAL");
      const [base, length] = [memory.readPointer(data), memory.readPointer(data + 8)];
      const count = Math.min(length, USER_REGS_SIZE);
      if (length % 8 !== 0) throw new SyscallError("EINVAL");
      const registers = userRegisters(target, traced);
      if (request === PTRACE.GETREGSET) memory.writeBytes(base, registers.subarray(0, count));
      else {
        registers.set(memory.readBytes(base, count));
        setUserRegisters(target, traced, registers);
      }
      memory.writeU64(data + 8, BigInt(count));
      return 0;
    }
    case PTRACE.SETOPTIONS:
      if (args.u64(3) & ~BigInt(OPTIONS)) throw new SyscallError("EINVAL");
      traced.options = data;
      return 0;
    case PTRACE.GETEVENTMSG:
      memory.writeU64(data, BigInt(traced.message));
      return 0;
    case PTRACE.GETSIGINFO: {
      const { signal, event, info } = traced.stop;
      const code = event === undefined ? signal : signal | (event << 8);
      const shown = info ?? { signal: SIGNAL.SIGTRAP, code, pid: target.tid, uid: target.process.uid };
      memory.writeBytes(data, encodeSigInfo(shown));
      return 0;
    }
    default:
      throw new SyscallError("EIO");
  }
}

const NOTE =
  "TRACEME, ATTACH, DETACH, CONT, SYSCALL, SINGLESTEP, KILL, PEEK*, POKE*, GETREGS, SETREGS, GETREGSET and SETREGSET of NT_PRSTATUS, SETOPTIONS, GETEVENTMSG, GETSIGINFO; others, SEIZE among them, give EIO; EXIT, VFORKDONE stops do not come";

export const PTRACE_SYSCALLS = [row(101, "ptrace", ["long", "int", "address", "hex"], ptrace, NOTE)];
