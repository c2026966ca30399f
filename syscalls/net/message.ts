import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import { MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS, SOL_SOCKET } from "../abi/socket.ts";
import type { FileDescription } from "../files/description.ts";
import type { FdTable } from "../files/fd-table.ts";
import { IoVector } from "../files/io-vector.ts";
import type { Process } from "../process.ts";
import type { Received } from "./socket.ts";

/** sizeof(struct msghdr): name, name length (u32), iovec array and count, control and its length, flags (u32). */
export const MSGHDR_SIZE = 56;
/** sizeof(struct cmsghdr): length (u64), level (s32), type (s32). Data follows; all is rounded up to 8. */
const CMSGHDR_SIZE = 16;
const align = (size: number): number => Math.ceil(size / 8) * 8;
/** Most control data that a call takes (net/core/optmem_max). */
const MAX_CONTROL = 131_072;

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
 * Reads the control messages of sendmsg (net/core/scm.c, __scm_send).
 * @returns what is to be handed over
 */
export function readControl(memory: GuestMemory, header: MessageHeader, table: FdTable): FileDescription[] {
  const rights: FileDescription[] = [];
  if (header.control === 0 || header.controlLength < CMSGHDR_SIZE) return rights;
  if (header.controlLength > MAX_CONTROL) throw new SyscallError("ENOBUFS");
  const bytes = memory.readBytes(header.control, header.controlLength);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + CMSGHDR_SIZE <= bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (length < CMSGHDR_SIZE || length > bytes.length - at) throw new SyscallError("EINVAL");
    const [level, type] = [view.getInt32(at + 8, true), view.getInt32(at + 12, true)];
    if (level === SOL_SOCKET) {
      const size = length - CMSGHDR_SIZE;
      if (type === SCM_RIGHTS) {
        const count = Math.floor(size / 4);
        if (rights.length + count > SCM_MAX_FD) throw new SyscallError("EINVAL");
        for (let i = 0; i < count; i++) rights.push(table.get(view.getInt32(at + CMSGHDR_SIZE + 4 * i, true)));
      } else if (type !== SCM_CREDENTIALS || size !== 12) throw new SyscallError("EINVAL");
    }
    at += align(length);
  }
  return rights;
}

/** Puts control messages together in the room that recvmsg was given. */
class ControlWriter {
  readonly #process: Process;
  readonly #header: MessageHeader;
  used = 0;
  flags = 0;

  constructor(process: Process, header: MessageHeader) {
    this.#process = process;
    this.#header = header;
  }

  get room(): number {
    return this.#header.control === 0 ? 0 : this.#header.controlLength - this.used;
  }

  /** One message, cut if there is too little room (net/core/scm.c, put_cmsg). */
  put(type: number, data: Uint8Array): void {
    if (this.room < CMSGHDR_SIZE) {
      this.flags |= MSG_CTRUNC;
      return;
    }
    let length = CMSGHDR_SIZE + data.length;
    if (length > this.room) {
      this.flags |= MSG_CTRUNC;
      length = this.room;
    }
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(length), true);
    view.setInt32(8, SOL_SOCKET, true);
    view.setInt32(12, type, true);
    bytes.set(data.subarray(0, length - CMSGHDR_SIZE), CMSGHDR_SIZE);
    this.#process.memory.writeBytes(this.#header.control + this.used, bytes);
    this.used += Math.min(align(CMSGHDR_SIZE + data.length), this.room);
  }
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
  if (fds.length > 0) writer.put(SCM_RIGHTS, new Uint8Array(Int32Array.from(fds).buffer));
}

/** Stores what recvmsg tells beside the bytes. Gives up or hands on the references in `received.rights`. */
export function storeControl(
  process: Process,
  header: MessageHeader,
  received: Received,
  flags: number,
  withCredentials: boolean,
): void {
  const writer = new ControlWriter(process, header);
  if (withCredentials) {
    const { pid, uid, gid } = received.credentials ?? { pid: 0, uid: 65_534, gid: 65_534 };
    writer.put(SCM_CREDENTIALS, new Uint8Array(Int32Array.of(pid, uid, gid).buffer));
  }
  if (received.rights.length > 0) putRights(process, writer, received.rights, (flags & MSG_CMSG_CLOEXEC) !== 0);
  const { memory } = process;
  memory.writeU64(header.address + 40, BigInt(writer.used));
  memory.writeU32(header.address + 48, received.flags | writer.flags | (flags & MSG_CMSG_CLOEXEC));
}
