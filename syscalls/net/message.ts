import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import { MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS, SOL_SOCKET } from "../abi/socket.ts";
import type { FileDescription } from "../files/description.ts";
import type { FdTable } from "../files/fd-table.ts";
import { IoVector } from "../files/io-vector.ts";
import type { Process } from "../process.ts";
import { CMSGHDR_SIZE, type ControlMessage, ControlWriter } from "./control.ts";
import type { Received, Socket } from "./socket.ts";

/** sizeof(struct msghdr): name, name length (u32), iovec array and count, control and its length, flags (u32). */
export const MSGHDR_SIZE = 56;
/** struct msghdr as it lies in memory (include/linux/socket.h, struct user_msghdr). */
export interface MessageHeader {
  readonly address: number;
  readonly name: number;
  readonly nameLength: number;
  readonly iov: number;
  readonly iovCount: number;
  readonly control: number;
  readonly controlLength: number;
}

export function readHeader(memory: GuestMemory, address: number): MessageHeader {
  const view = new DataView(memory.readBytes(address, MSGHDR_SIZE).buffer);
  const word = (at: number): number => Number(view.getBigUint64(at, true));
  const nameLength = view.getInt32(8, true);
  if (nameLength < 0) throw new SyscallError("EINVAL");
  return {
    address,
    name: word(0),
    nameLength,
    iov: word(16),
    iovCount: word(24),
    control: word(32),
    controlLength: word(40),
  };
}

/** @throws SyscallError EMSGSIZE for too many pieces (net/socket.c, copy_msghdr_from_user) */
export function vectorOf(memory: GuestMemory, header: MessageHeader, direction: "in" | "out"): IoVector {
  if (header.iovCount > 1024) throw new SyscallError("EMSGSIZE");
  return IoVector.fromIovecs(memory, header.iov, header.iovCount, direction);
}

/**
 * The descriptions that the control messages of a Unix domain socket hand over (net/core/scm.c, __scm_send). Messages of other
 * levels are passed over.
 * @throws SyscallError EINVAL for what is unknown, EBADF
 */
export function rightsOf(messages: readonly ControlMessage[], table: FdTable): FileDescription[] {
  const rights: FileDescription[] = [];
  for (const { level, type, data } of messages) {
    if (level !== SOL_SOCKET) continue;
    if (type === SCM_RIGHTS) {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      const count = Math.floor(data.length / 4);
      if (rights.length + count > SCM_MAX_FD) throw new SyscallError("EINVAL");
      for (let i = 0; i < count; i++) rights.push(table.get(view.getInt32(4 * i, true)));
    } else if (type !== SCM_CREDENTIALS || data.length !== 12) throw new SyscallError("EINVAL");
  }
  return rights;
}

/** Installs what came with a message as descriptors, as many as there is room for (scm_detach_fds). */
function putRights(
  process: Process,
  writer: ControlWriter,
  rights: readonly FileDescription[],
  cloexec: boolean,
): void {
  const fits = Math.max(0, Math.floor((writer.room - CMSGHDR_SIZE) / 4));
  const fds: number[] = [];
  for (const description of rights) {
    if (fds.length < fits) {
      try {
        fds.push(process.files.table.install(description, cloexec));
      } catch {
        writer.flags |= MSG_CTRUNC;
      }
    } else writer.flags |= MSG_CTRUNC;
    description.release();
  }
  const data = new Uint8Array(Int32Array.from(fds).buffer);
  if (fds.length > 0) writer.put({ level: SOL_SOCKET, type: SCM_RIGHTS, data });
}

/** Stores what recvmsg tells beside the bytes. Gives up or hands on the references in `received.rights`. */
export function storeControl(
  process: Process,
  socket: Socket,
  header: MessageHeader,
  received: Received,
  flags: number,
): void {
  const { memory } = process;
  const writer = new ControlWriter(memory, header);
  for (const message of socket.controlOf(received)) writer.put(message);
  if (received.rights.length > 0) putRights(process, writer, received.rights, (flags & MSG_CMSG_CLOEXEC) !== 0);
  memory.writeU64(header.address + 40, BigInt(writer.used));
  memory.writeU32(header.address + 48, received.flags | writer.flags | (flags & MSG_CMSG_CLOEXEC));
}
