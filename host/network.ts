import type { ErrnoName } from "../syscalls/abi/errno.ts";

/**
 * The host's network, as far as a guest's sockets reach out of the machine. What is called returns at once; what the
 * host has to say comes later, from its event loop. Errors are SyscallErrors with the host's own errno.
 */
export interface HostNetwork {
  /** Addresses of this computer's interfaces, the loopback interface's among them. */
  interfaces(): HostInterfaceAddress[];
  /**
   * Takes a local address for a stream socket; port 0 lets the host choose. Connections are reset until `accept` says
   * otherwise. @throws (rejects with) EADDRINUSE, EADDRNOTAVAIL, EACCES …
   */
  listen(at: HostEndpoint | HostPath, options: HostListenOptions): Promise<HostListener>;
  /** Begins to connect. `from` is the local address, if the guest chose one. */
  connect(to: HostEndpoint | HostPath, from: HostEndpoint | undefined): HostConnection;
  /** A datagram socket, not bound yet. */
  datagram(options: HostDatagramOptions): HostDatagram;
}

export interface HostEndpoint {
  readonly ip: string;
  readonly port: number;
  readonly scope?: number;
}

/** A name in the host's file system (unix(7)), a byte string. */
export interface HostPath {
  readonly path: string;
}

export interface HostInterfaceAddress {
  readonly name: string;
  readonly ip: string;
  /** Bits of the network part. */
  readonly prefix: number;
  /** Six bytes in hexadecimal with colons. */
  readonly mac: string;
  readonly isLoopback: boolean;
  readonly scope: number;
}

export interface HostListenOptions {
  readonly v6only: boolean;
  readonly reusePort: boolean;
}

export interface HostListener {
  readonly local: HostEndpoint;
  /** From now on connections are handed over. */
  accept(take: (connection: HostConnection) => void): void;
  close(): void;
}

/** What happens to a connection; called from the host's event loop only. */
export interface HostConnectionEvents {
  connected(): void;
  /** Bytes have come. They are the host's again afterwards: what is to stay has to be copied. */
  data(bytes: Uint8Array): void;
  /** The other side sends no more. */
  ended(): void;
  /** Written bytes have gone out: there is room again. */
  drained(): void;
  failed(error: ErrnoName): void;
}

export interface HostConnection {
  readonly local: HostEndpoint;
  readonly remote: HostEndpoint;
  /** Whom to tell. Nothing is lost before. */
  start(events: HostConnectionEvents): void;
  /**
   * Hands over what the host takes at once, without keeping `bytes`; 0 while others are pending.
   * @param at where in `bytes` what is to be written begins
   * @param length of it
   * @returns bytes written
   * @throws SyscallError with what has ended the connection; the events do not tell it, too
   */
  writeNow(bytes: Uint8Array, at: number, length: number): number;
  /** Hands over all of it; the host may keep `bytes` until they have gone out. */
  write(bytes: Uint8Array): void;
  /** Bytes written that have not gone out. */
  readonly pending: number;
  /** Sends no more, once what was written has gone out. */
  finish(): void;
  pause(): void;
  resume(): void;
  /** Nobody reads or writes any more: sends what was written, then closes; what arrives is answered with a reset. */
  close(): void;
  reset(): void;
  setNoDelay(on: boolean): void;
}

export interface HostDatagramOptions {
  readonly ipv6: boolean;
  readonly v6only: boolean;
  readonly reuseAddress: boolean;
  readonly reusePort: boolean;
}

export interface HostDatagramSettings {
  /** 1 to 255. */
  readonly ttl?: number | undefined;
  /** 1 to 255. */
  readonly multicastTtl?: number | undefined;
  readonly multicastLoop?: boolean | undefined;
  /** Address of the interface. */
  readonly multicastInterface?: string | undefined;
}

export interface HostDatagramEvents {
  message(bytes: Uint8Array, from: HostEndpoint): void;
  failed(error: ErrnoName): void;
}

export interface HostDatagram {
  /** Takes a local address; resolves to it with the port that the host chose. */
  bind(at: HostEndpoint): Promise<HostEndpoint>;
  start(events: HostDatagramEvents): void;
  /** Messages from others are dropped, and refusals by this one are told. Goes in order with `send`. */
  connect(to: HostEndpoint): void;
  /** Binds itself if nobody has. What fails is told later. */
  send(bytes: Uint8Array, to: HostEndpoint): void;
  setBroadcast(on: boolean): void;
  /** Options of what is sent; those that are undefined stay as they are. What the host refuses is left out. */
  configure(settings: HostDatagramSettings): void;
  /** @throws SyscallError as setsockopt(2) with IP_ADD_MEMBERSHIP and its kin */
  setMembership(group: string, interfaceIp: string | undefined, joined: boolean): void;
  close(): void;
}
