import { type ErrnoName, SyscallError } from "../abi/errno.ts";
import { O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { SOCK_STREAM } from "../abi/socket.ts";
import { type FileStat, S_IFSOCK } from "../abi/stat.ts";
import { anonymousStat } from "../files/anonymous.ts";
import { FileDescription, WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { SocketAddress } from "./address.ts";
import type { ControlMessage } from "./control.ts";
import type { Network } from "./network.ts";
import { NO_CREDENTIALS } from "./outside-peer.ts";
import type { PacketInfo } from "./packet.ts";
import type { Pending } from "./pending.ts";

/** Who sent a message, for SO_PASSCRED and SO_PEERCRED (struct ucred). */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface SendOptions {
  /** MSG_* */
  readonly flags: number;
  readonly to: SocketAddress | undefined;
  /** Descriptions that are handed over (SCM_RIGHTS). */
  readonly rights: readonly FileDescription[];
  /** What else came in control messages. */
  readonly control: readonly ControlMessage[];
}

export interface Received {
  /** Bytes stored. */
  readonly count: number;
  /** What recv returns: more than `count` only with MSG_TRUNC. */
  readonly length: number;
  readonly from: SocketAddress | undefined;
  /** MSG_TRUNC and such, as recvmsg reports. */
  readonly flags: number;
  readonly rights: readonly FileDescription[];
  readonly credentials?: Credentials;
  /** What the packet's head said. */
  readonly packet?: PacketInfo;
  /** Control messages that are told whatever the socket's options (MSG_ERRQUEUE). */
  readonly control?: readonly ControlMessage[];
}

export const NO_OPTIONS: SendOptions = { flags: 0, to: undefined, rights: [], control: [] };

/** A connection that has not come about yet: the caller waits, or is told EINPROGRESS. */
export const IN_PROGRESS = -1;

/** What shutdown(2) has closed. */
export const RCV_SHUTDOWN = 1;
export const SEND_SHUTDOWN = 2;
export const SHUTDOWN_MASK = 3;

/** A socket (socket(2); Linux: struct socket and struct sock). Calls that a kind does not know fail as Linux's do. */
export abstract class Socket extends FileDescription {
  readonly network: Network;
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  readonly inode: bigint;
  /** Values of options that are only remembered: level and number, and what was set. */
  readonly remembered = new Map<string, Uint8Array>();
  /** Linux: sk_err. */
  error: ErrnoName | undefined;
  /** RCV_SHUTDOWN, SEND_SHUTDOWN. */
  shutdownMask = 0;
  /** SO_RCVTIMEO, SO_SNDTIMEO in ns. */
  receiveTimeout = Number.POSITIVE_INFINITY;
  sendTimeout = Number.POSITIVE_INFINITY;
  sendBuffer: number;
  receiveBuffer: number;
  /** Seconds of SO_LINGER; undefined if it is off. */
  linger: number | undefined;
  reuseAddress = false;
  reusePort = false;
  keepAlive = false;
  broadcast = false;
  passCredentials = false;
  /** The host works on a bind or listen; a call that a signal interrupted finds it here again. */
  underway: Pending | undefined;
  /** The last descriptor is gone. */
  closed = false;

  constructor(
    network: Network,
    kind: { family: number; type: number; protocol: number; flags: number },
    buffers: { send: number; receive: number },
  ) {
    super(O_RDWR | (kind.flags & O_NONBLOCK));
    this.network = network;
    this.family = kind.family;
    this.type = kind.type;
    this.protocol = kind.protocol;
    this.sendBuffer = buffers.send;
    this.receiveBuffer = buffers.receive;
    this.inode = network.owner.files.anonymousInode();
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    return `socket:[${this.inode}]`;
  }

  override stat(): FileStat {
    return anonymousStat(this.inode, S_IFSOCK | 0o777);
  }

  override get writesAll(): boolean {
    return this.type === SOCK_STREAM;
  }

  override readDeadline(): number {
    return this.network.now() + this.receiveTimeout;
  }

  override writeDeadline(): number {
    return this.network.now() + this.sendTimeout;
  }

  get isListening(): boolean {
    return false;
  }

  /** Bytes that a read would give (ioctl FIONREAD). */
  abstract get buffered(): number;

  /** bind(2). @returns what the host has still to say, if anything */
  abstract bind(address: SocketAddress): Pending | undefined;

  listen(_backlog: number): Pending | undefined {
    throw new SyscallError("ENOTSUP");
  }

  /** The next connection; undefined if there is none yet. */
  accept(_flags: number): Socket | undefined {
    throw new SyscallError("ENOTSUP");
  }

  /** connect(2). @returns 0, or IN_PROGRESS; then `connectResult` tells */
  abstract connect(address: SocketAddress): number;

  /** How connect has ended: null if it has not. @throws SyscallError */
  connectResult(): number | null {
    return 0;
  }

  abstract shutdown(how: number): void;
  abstract localAddress(): SocketAddress;
  /** @throws SyscallError ENOTCONN */
  abstract peerAddress(): SocketAddress;

  /** Sends; returns bytes taken, or WOULD_BLOCK. */
  abstract send(from: IoVector, options: SendOptions): number;
  /** Receives; undefined if there is nothing yet. */
  abstract receive(to: IoVector, flags: number): Received | undefined;

  peerCredentials(): Credentials {
    return NO_CREDENTIALS;
  }

  override read(to: IoVector): number {
    if (to.remaining === 0 && this.type === SOCK_STREAM) return 0;
    return this.receive(to, 0)?.count ?? WOULD_BLOCK;
  }

  override write(from: IoVector): number {
    return this.send(from, NO_OPTIONS);
  }

  /** Is an option on that is only remembered? */
  isOn(level: number, option: number): boolean {
    const value = this.remembered.get(`${level}:${option}`);
    return value?.some((byte) => byte !== 0) ?? false;
  }

  /** The value of an option that is only remembered. */
  intOption(level: number, option: number, initial: number): number {
    const value = this.remembered.get(`${level}:${option}`);
    return value === undefined ? initial : new DataView(value.buffer, value.byteOffset).getInt32(0, true);
  }

  /** The control messages of recvmsg, apart from descriptors. */
  controlOf(received: Received): readonly ControlMessage[] {
    return received.control ?? [];
  }

  /** Throws the pending error once (Linux: sock_error). */
  throwError(): void {
    const { error } = this;
    if (error === undefined) return;
    this.error = undefined;
    throw new SyscallError(error);
  }

  /** Something may be different for whoever polls or waits. */
  changed(): void {
    this.queue.wake();
  }
}
