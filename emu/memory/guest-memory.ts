import {
  inWindow,
  PAGE_SIZE,
  PERM_ABSENT,
  PERM_CODE,
  PERM_WRITE_SPAN,
  PROT_READ,
  PROT_WRITE,
  TASK_SIZE,
} from "../layout.ts";
import type { AddressSpace } from "./address-space.ts";

const TWO_32 = 2 ** 32;

/** An access to guest memory that its permissions do not allow: EFAULT to a system call, a page fault to the CPU. */
export class GuestFault extends Error {
  readonly address: number;

  constructor(address: number) {
    super(`no access to guest memory at 0x${address.toString(16)}`);
    this.address = address;
  }
}

/** The first `count` bytes as characters, eight at a time: with a list of arguments engines take several times as long. */
function latin1(bytes: Uint8Array, count: number): string {
  let text = "";
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    const [a, b, c, d] = [bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]];
    text += String.fromCharCode(a, b, c, d, bytes[i + 4], bytes[i + 5], bytes[i + 6], bytes[i + 7]);
  }
  for (; i < count; i++) text += String.fromCharCode(bytes[i]);
  return text;
}

/**
 * Guest memory as the kernel layer, the loader and tools read and write it: little endian, with the guest's page
 * permissions (a bad pointer throws GuestFault, Linux: copy_from_user, copy_to_user). Addresses are numbers: guest
 * addresses are below 2^47.
 */
export class GuestMemory {
  readonly space: AddressSpace;
  readonly u8: Uint8Array;
  readonly view: DataView;

  constructor(space: AddressSpace) {
    this.space = space;
    this.u8 = new Uint8Array(space.memory.buffer);
    this.view = new DataView(space.memory.buffer);
  }

  /**
   * Checks the page of `address` for `need` (PROT_* bits) and returns where its byte lies in wasm memory.
   * @param stores will it be stored to for certain? Then a page of a shared file mapping is one that was stored to
   * @param bytes of the page from there on that are accessed, if that is known
   * @throws GuestFault
   */
  physical(address: number, need: number, stores = true, bytes?: number): number {
    if (!(address >= 0 && address < TASK_SIZE)) throw new GuestFault(address);
    let perm: number;
    let at = address;
    const isWindow = inWindow(address);
    if (isWindow) {
      perm = this.space.pages.window(Math.floor(address / PAGE_SIZE));
      if (perm & PERM_ABSENT) {
        if (this.space.pageIn(address, need) === 0) throw new GuestFault(address);
        perm = this.space.pages.window(Math.floor(address / PAGE_SIZE));
      }
    } else {
      perm = this.space.pages.outside(address) || this.space.pageIn(address, need);
      if (perm === 0) throw new GuestFault(address);
      at = Math.floor(perm / PAGE_SIZE) * PAGE_SIZE + (address % PAGE_SIZE);
    }
    if (need & PROT_WRITE && !(perm & PROT_WRITE) && this.space.unshare(address)) perm |= PROT_WRITE;
    if ((perm & need) !== need && !this.space.guards.allows(address, need)) {
      if (!stores || perm === 0 || !(need & PROT_WRITE) || !this.space.allowStores(address))
        throw new GuestFault(address);
    }
    if (need & PROT_WRITE) {
      const page = Math.floor(address / PAGE_SIZE);
      if (perm & PERM_CODE) this.space.onCodeChange(page, bytes && address, bytes);
      if (!(perm & PERM_WRITE_SPAN) && isWindow) this.space.pages.touch(page);
    }
    return at;
  }

  /**
   * The wasm bytes behind [address, address + length), as pieces in order, each a view, not a copy. Checked throughout
   * before the first piece is returned.
   * @param stores see physical
   * @throws GuestFault
   */
  pieces(address: number, length: number, need: number, stores = true): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    const end = address + length;
    if (!(address >= 0 && end <= TASK_SIZE)) throw new GuestFault(address);
    let pieceStart = -1;
    let pieceEnd = -1;
    for (let at = address; at < end; ) {
      const next = Math.min(end, Math.floor(at / PAGE_SIZE) * PAGE_SIZE + PAGE_SIZE);
      const host = this.physical(at, need, stores, next - at);
      if (host !== pieceEnd) {
        if (pieceStart >= 0) pieces.push(this.u8.subarray(pieceStart, pieceEnd));
        pieceStart = host;
      }
      pieceEnd = host + (next - at);
      at = next;
    }
    if (pieceStart >= 0) pieces.push(this.u8.subarray(pieceStart, pieceEnd));
    return pieces;
  }

  /**
   * Bytes from `address` on that allow `need`, at most `length`: how far a copy would get. It is shorter too where pages
   * outside the window are about to run out of frames: the next call gets further.
   */
  accessible(address: number, length: number, need: number): number {
    let done = 0;
    while (done < length) {
      if (done > 0 && this.space.isShortOfFrames) break;
      try {
        this.physical(address + done, need);
      } catch (error) {
        if (error instanceof GuestFault || done > 0) break;
        throw error;
      }
      done = Math.min(length, done + PAGE_SIZE - ((address + done) % PAGE_SIZE));
    }
    return done;
  }

  /** A copy of the bytes. @throws GuestFault */
  readBytes(address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let at = 0;
    for (const piece of this.pieces(address, length, PROT_READ)) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  /** @throws GuestFault before anything is written */
  writeBytes(address: number, bytes: Uint8Array): void {
    if (bytes.length > 0 && this.#fits(address, bytes.length)) {
      this.u8.set(bytes, this.physical(address, PROT_WRITE, true, bytes.length));
      return;
    }
    let at = 0;
    for (const piece of this.pieces(address, bytes.length, PROT_WRITE)) {
      piece.set(bytes.subarray(at, at + piece.length));
      at += piece.length;
    }
  }

  /**
   * The bytes up to a NUL, which is not included.
   * @param max most bytes to look at
   * @returns undefined if no NUL is among them
   * @throws GuestFault
   */
  readCString(address: number, max: number): Uint8Array | undefined {
    const text = this.readCText(address, max);
    if (text === undefined) return undefined;
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  /** The same as a text with a character for each byte (Latin-1). */
  readCText(address: number, max: number): string | undefined {
    if (!(address >= 0 && address < TASK_SIZE)) throw new GuestFault(address);
    const { u8 } = this;
    let text = "";
    for (let at = address; at < address + max; ) {
      const host = this.physical(at, PROT_READ);
      const count = Math.min(PAGE_SIZE - (at % PAGE_SIZE), address + max - at);
      // Within a view indices are small: those of memory as a whole are beyond what engines have as integers.
      const page = u8.subarray(host, host + count);
      const end = page.indexOf(0);
      text += latin1(page, end < 0 ? count : end);
      if (end >= 0) return text;
      at += count;
    }
    return undefined;
  }

  /**
   * Where [address, address + length) lies in wasm memory if that is one piece that allows `need` throughout; -1 if not.
   * @param length at least 1
   */
  contiguous(address: number, length: number, need: number): number {
    const end = address + length;
    if (!(address >= 0 && end <= TASK_SIZE)) return -1;
    try {
      const first = this.physical(address, need);
      for (let at = Math.floor(address / PAGE_SIZE) * PAGE_SIZE + PAGE_SIZE; at < end; at += PAGE_SIZE) {
        if (this.space.isShortOfFrames || this.physical(at, need) !== first + (at - address)) return -1;
      }
      return first;
    } catch (error) {
      if (error instanceof GuestFault) return -1;
      throw error;
    }
  }

  #fits(address: number, size: number): boolean {
    return address % PAGE_SIZE <= PAGE_SIZE - size;
  }

  #gather(address: number, size: number): DataView {
    return new DataView(this.readBytes(address, size).buffer);
  }

  readU8(address: number): number {
    return this.u8[this.physical(address, PROT_READ)];
  }

  readU16(address: number): number {
    if (!this.#fits(address, 2)) return this.#gather(address, 2).getUint16(0, true);
    return this.view.getUint16(this.physical(address, PROT_READ), true);
  }

  readU32(address: number): number {
    if (!this.#fits(address, 4)) return this.#gather(address, 4).getUint32(0, true);
    return this.view.getUint32(this.physical(address, PROT_READ), true);
  }

  readI32(address: number): number {
    return this.readU32(address) | 0;
  }

  readU64(address: number): bigint {
    if (!this.#fits(address, 8)) return this.#gather(address, 8).getBigUint64(0, true);
    return this.view.getBigUint64(this.physical(address, PROT_READ), true);
  }

  readI64(address: number): bigint {
    return BigInt.asIntN(64, this.readU64(address));
  }

  /** A 64-bit value as a number: exact for addresses and lengths below 2^53. */
  readPointer(address: number): number {
    if (!this.#fits(address, 8)) return Number(this.readU64(address));
    const at = this.physical(address, PROT_READ);
    return this.view.getUint32(at + 4, true) * TWO_32 + this.view.getUint32(at, true);
  }

  /** A signed 64-bit value as a number: exact within 2^53. */
  readNumber(address: number): number {
    if (!this.#fits(address, 8)) return Number(this.readI64(address));
    const at = this.physical(address, PROT_READ);
    return this.view.getInt32(at + 4, true) * TWO_32 + this.view.getUint32(at, true);
  }

  writeU8(address: number, value: number): void {
    this.u8[this.physical(address, PROT_WRITE)] = value;
  }

  writeU16(address: number, value: number): void {
    this.#write(address, 2, (view, at) => view.setUint16(at, value, true));
  }

  writeU32(address: number, value: number): void {
    this.#write(address, 4, (view, at) => view.setUint32(at, value, true));
  }

  writeU64(address: number, value: bigint): void {
    this.#write(address, 8, (view, at) => view.setBigUint64(at, BigInt.asUintN(64, value), true));
  }

  #write(address: number, size: number, store: (view: DataView, at: number) => void): void {
    if (this.#fits(address, size)) {
      store(this.view, this.physical(address, PROT_WRITE));
      return;
    }
    const bytes = new Uint8Array(size);
    store(new DataView(bytes.buffer), 0);
    this.writeBytes(address, bytes);
  }

  /** Writes bytes whatever the page's protection (the loader, a debugger); the range must be mapped. */
  poke(address: number, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      const at = address + done;
      const count = Math.min(bytes.length - done, PAGE_SIZE - (at % PAGE_SIZE));
      if (this.space.vmas.at(at) === undefined) throw new GuestFault(at);
      this.space.vacate(at, at + count);
      this.space.own(at);
      if (this.space.pages.permissions(at) & PERM_CODE) this.space.onCodeChange(Math.floor(at / PAGE_SIZE));
      const host = this.physical(at, 0);
      if (inWindow(at)) {
        const page = Math.floor(at / PAGE_SIZE);
        this.space.pages.markDirty(page, page + 1);
      }
      this.u8.set(bytes.subarray(done, done + count), host);
      done += count;
    }
  }
}
