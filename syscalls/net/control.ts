import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import { MSG_CTRUNC } from "../abi/socket.ts";

/** sizeof(struct cmsghdr): length (u64), level (s32), type (s32). Data follows. */
export const CMSGHDR_SIZE = 16;
/** A message begins at a multiple of 8 (CMSG_ALIGN in include/linux/socket.h). */
const align = (size: number): number => Math.ceil(size / 8) * 8;
/** Most control data that a call takes (net/core/optmem_max). */
const MAX_CONTROL = 131_072;

/** Ancillary data (cmsg(3)): what goes with a message beside its bytes. */
export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  readonly data: Uint8Array;
}

/** Where a msghdr says that its control messages are. */
export interface ControlRoom {
  readonly control: number;
  readonly controlLength: number;
}

/**
 * The control messages of sendmsg, as CMSG_FIRSTHDR and CMSG_NXTHDR find them.
 * @throws SyscallError EINVAL for one that is too short or reaches beyond the end (CMSG_OK), ENOBUFS for too many
 */
export function readControl(memory: GuestMemory, { control, controlLength }: ControlRoom): ControlMessage[] {
  if (controlLength > 0x7fff_ffff || controlLength > MAX_CONTROL) throw new SyscallError("ENOBUFS");
  if (control === 0 || controlLength < CMSGHDR_SIZE) return [];
  const bytes = memory.readBytes(control, controlLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: ControlMessage[] = [];
  for (let at = 0; at + CMSGHDR_SIZE <= bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (length < CMSGHDR_SIZE || length > bytes.length - at) throw new SyscallError("EINVAL");
    messages.push({
      level: view.getInt32(at + 8, true),
      type: view.getInt32(at + 12, true),
      data: bytes.subarray(at + CMSGHDR_SIZE, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** Puts control messages together in the room that recvmsg was given. */
export class ControlWriter {
  readonly #memory: GuestMemory;
  readonly #room: ControlRoom;
  /** Bytes written, padding between messages included: the new msg_controllen. */
  used = 0;
  /** MSG_CTRUNC if something did not fit. */
  flags = 0;

  constructor(memory: GuestMemory, room: ControlRoom) {
    this.#memory = memory;
    this.#room = room;
  }

  get room(): number {
    return this.#room.control === 0 ? 0 : this.#room.controlLength - this.used;
  }

  /** One message, cut if there is too little room, left out if not even its head fits (net/core/scm.c, put_cmsg). */
  put({ level, type, data }: ControlMessage): void {
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
    view.setInt32(8, level, true);
    view.setInt32(12, type, true);
    bytes.set(data.subarray(0, length - CMSGHDR_SIZE), CMSGHDR_SIZE);
    this.#memory.writeBytes(this.#room.control + this.used, bytes);
    this.used += Math.min(align(CMSGHDR_SIZE + data.length), this.room);
  }
}
