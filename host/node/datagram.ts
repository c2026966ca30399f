import * as dgram from "node:dgram";
import { canonicalIp, isIpv4 } from "../../syscalls/net/ip.ts";
import type {
  HostDatagram,
  HostDatagramEvents,
  HostDatagramOptions,
  HostDatagramSettings,
  HostEndpoint,
} from "../network.ts";
import { asSyscallError, attempt } from "./errors.ts";

type Refusal = Parameters<HostDatagramEvents["failed"]>[0];

/** A UDP socket of Node's. Messages wait while it is being bound or connected. */
export class NodeDatagram implements HostDatagram {
  readonly #socket: dgram.Socket;
  readonly #ipv6: boolean;
  readonly #open: Set<{ dispose(): void | Promise<void> }>;
  #events: HostDatagramEvents | undefined;
  #refused: ((error: Error) => void) | undefined;
  /** Under way; messages wait for them. */
  #steps = 0;
  readonly #waiting: (() => void)[] = [];
  #bound = false;
  #connected: HostEndpoint | undefined;
  #broadcast = false;
  #settings: HostDatagramSettings = {};
  #closed = false;

  constructor(options: HostDatagramOptions, open: Set<{ dispose(): void | Promise<void> }>) {
    this.#ipv6 = options.ipv6;
    this.#open = open;
    this.#socket = dgram.createSocket({
      type: options.ipv6 ? "udp6" : "udp4",
      ipv6Only: options.ipv6 && options.v6only,
      reuseAddr: options.reuseAddress,
      reusePort: options.reusePort,
      // Addresses are numbers already.
      lookup: (host, _options, callback) => callback(null, host, options.ipv6 ? 6 : 4),
    });
    this.#socket.on("error", (error) => {
      const refused = this.#refused;
      this.#refused = undefined;
      if (refused !== undefined) refused(error);
      else this.#events?.failed(asSyscallError(error).message as Refusal);
    });
    this.#socket.on("message", (bytes, { address, port }) => {
      this.#events?.message(bytes, { ip: canonicalIp(address), port });
    });
  }

  start(events: HostDatagramEvents): void {
    this.#events = events;
  }

  bind(at: HostEndpoint): Promise<HostEndpoint> {
    return this.#step((done, refused) => {
      this.#refused = refused;
      this.#socket.bind({ address: at.ip, port: at.port, exclusive: true }, () => {
        this.#refused = undefined;
        this.#bound = true;
        if (this.#broadcast) this.#socket.setBroadcast(true);
        this.#apply();
        const { address, port } = this.#socket.address();
        done({ ip: canonicalIp(address), port });
      });
    });
  }

  /** Does something that messages have to wait for. */
  #step<T>(start: (done: (value: T) => void, refused: (error: Error) => void) => void): Promise<T> {
    this.#steps++;
    return new Promise<T>((resolve, reject) => {
      start(resolve, (error) => reject(asSyscallError(error)));
    }).finally(() => {
      // A step that follows on a refusal begins before the messages go on.
      queueMicrotask(() => queueMicrotask(() => this.#stepDone()));
    });
  }

  #stepDone(): void {
    if (--this.#steps > 0 || this.#closed) return;
    for (const send of this.#waiting.splice(0)) send();
  }

  connect(to: HostEndpoint): void {
    if (this.#connected?.ip === to.ip && this.#connected.port === to.port) return;
    if (this.#connected !== undefined) this.#socket.disconnect();
    this.#connected = to;
    this.#step<void>((done, refused) => {
      // While it is being bound, Node lets this wait.
      this.#socket.connect(to.port, this.#literal(to), (error?: Error) => {
        if (error) refused(error);
        else done();
      });
    }).catch((error) => {
      this.#connected = undefined;
      this.#events?.failed(asSyscallError(error).message as Refusal);
    });
  }

  #literal({ ip }: HostEndpoint): string {
    return this.#ipv6 && isIpv4(ip) ? `::ffff:${ip}` : ip;
  }

  send(bytes: Uint8Array, to: HostEndpoint): void {
    if (this.#steps > 0) {
      this.#waiting.push(() => this.send(bytes, to));
      return;
    }
    const sent = (error: Error | null): void => {
      if (error) this.#events?.failed(asSyscallError(error).message as Refusal);
    };
    const isConnected = this.#connected?.ip === to.ip && this.#connected.port === to.port;
    if (isConnected) this.#socket.send(bytes, sent);
    else this.#socket.send(bytes, to.port, this.#literal(to), sent);
  }

  setBroadcast(on: boolean): void {
    this.#broadcast = on;
    if (this.#bound) attempt(() => this.#socket.setBroadcast(on));
  }

  configure(settings: HostDatagramSettings): void {
    this.#settings = settings;
    if (this.#bound) this.#apply();
  }

  /** Sets what has been asked for: Node takes it only once the socket is bound. */
  #apply(): void {
    const { ttl, multicastTtl, multicastLoop, multicastInterface } = this.#settings;
    const socket = this.#socket;
    const settings = [
      () => ttl !== undefined && socket.setTTL(ttl),
      () => multicastTtl !== undefined && socket.setMulticastTTL(multicastTtl),
      () => multicastLoop === false && socket.setMulticastLoopback(false),
      () => multicastInterface !== undefined && socket.setMulticastInterface(multicastInterface),
    ];
    for (const set of settings) {
      try {
        set();
      } catch {
        // Messages go out as the host would send them anyway.
      }
    }
  }

  setMembership(group: string, interfaceIp: string | undefined, joined: boolean): void {
    attempt(() =>
      joined ? this.#socket.addMembership(group, interfaceIp) : this.#socket.dropMembership(group, interfaceIp),
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events = undefined;
    this.#open.delete(this);
    this.#socket.close();
  }

  dispose(): void {
    this.close();
  }
}
