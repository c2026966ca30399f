import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import type { Process } from "../process.ts";
import type { FileDescription } from "./description.ts";
import { type FileOwner, OWNER_KINDS } from "./signal-driven.ts";

/** F_SETOWN: a process, or a group as a negative number; 0 is nobody. @throws SyscallError ESRCH, EINVAL */
export function setOwner(process: Process, description: FileDescription, id: number): void {
  if (id === -0x8000_0000) throw new SyscallError("EINVAL");
  setOwnerOf(process, description, id < 0 ? "group" : "process", Math.abs(id));
}

function setOwnerOf(process: Process, description: FileDescription, kind: FileOwner["kind"], id: number): void {
  const owner = id === 0 ? undefined : process.fileOwner(kind, id);
  if (id !== 0 && owner === undefined) throw new SyscallError("ESRCH");
  description.signalDriven.owner = owner;
}

/** F_GETOWN. */
export function ownerOf(description: FileDescription): number {
  const { owner } = description.signalDriven;
  if (owner === undefined) return 0;
  return owner.kind === "group" ? -owner.id : owner.id;
}

/** F_SETOWN_EX and F_GETOWN_EX: struct f_owner_ex says the owner's kind. */
export function ownerEx(process: Process, description: FileDescription, command: number, address: number): number {
  const { memory } = process;
  if (command === abi.F_SETOWN_EX) {
    const kind = OWNER_KINDS[memory.readI32(address)];
    if (kind === undefined) return -errno.EINVAL;
    setOwnerOf(process, description, kind, memory.readI32(address + 4));
    return 0;
  }
  const { owner } = description.signalDriven;
  memory.writeU32(address, owner === undefined ? 0 : OWNER_KINDS.indexOf(owner.kind));
  memory.writeU32(address + 4, owner?.id ?? 0);
  return 0;
}

/** F_SETSIG. @throws SyscallError EINVAL */
export function setSignal(description: FileDescription, signal: number): number {
  if (signal < 0 || signal > 64) throw new SyscallError("EINVAL");
  description.signalDriven.signal = signal;
  return 0;
}
