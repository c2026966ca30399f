import { renameSync } from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import type { SyscallError } from "../../syscalls/abi/errno.ts";
import { pathToText } from "../../syscalls/files/path.ts";
import { canonicalIp, isIpv4, isLinkLocal6 } from "../../syscalls/net/ip.ts";
import type {
  HostConnection,
  HostConnectionEvents,
  HostDatagram,
  HostDatagramOptions,
  HostEndpoint,
  HostInterfaceAddress,
  HostListener,
  HostListenOptions,
  HostNetwork,
  HostPath,
} from "../network.ts";
import { NodeDatagram } from "./datagram.ts";
import { asSyscallError } from "./errors.ts";

/** How long the addresses of the interfaces are taken to stay the same, in ms. */
const INTERFACES_MS = 1000;
/** How long what a guest wrote before its end may take to go out, in ms. */
const LAST_WORDS_MS = 5000;
/** Connections that the host keeps while the machine is busy. */
const BACKLOG = 4096;
const NOWHERE: HostEndpoint = { ip: "0.0.0.0", port: 0 };

/** The network of this computer, through Node. */
export class NodeNetwork implements HostNetwork {
  #interfaces: HostInterfaceAddress[] = [];
  #asked = Number.NEGATIVE_INFINITY;
  readonly #open = new Set<{ dispose(): void | Promise<void> }>();

  interfaces(): HostInterfaceAddress[] {
    const now = performance.now();
    if (now - this.#asked < INTERFACES_MS) return this.#interfaces;
    this.#asked = now;
    this.#interfaces = Object.entries(os.networkInterfaces()).flatMap(([name, addresses]) =>
      (addresses ?? []).map(({ address, cidr, mac, internal, scopeid }) => ({
        name,
        ip: address,
        prefix: Number(cidr?.replace(/.*\//, "") ?? 0),
        mac,
        isLoopback: internal,
        scope: scopeid ?? 0,
      })),
    );
    return this.#interfaces;
  }

  listen(at: HostEndpoint | HostPath, options: HostListenOptions): Promise<HostListener> {
    const server = new net.Server({ allowHalfOpen: true, pauseOnConnect: true });
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(asSyscallError(error)));
      const listening = (): void => {
        server.on("error", () => {});
        const listener = new NodeListener(server, "path" in at ? pathToText(at.path) : undefined, this.#open);
        this.#open.add(listener);
        resolve(listener);
      };
      if ("path" in at) server.listen({ path: pathToText(at.path), backlog: BACKLOG }, listening);
      else {
        const { v6only, reusePort } = options;
        const where = { host: this.#literal(at), port: at.port, backlog: BACKLOG, exclusive: true };
        server.listen({ ...where, reusePort, ipv6Only: !isIpv4(at.ip) && v6only }, listening);
      }
    });
  }

  /** An address as Node takes it: with the interface's name if it needs one. */
  #literal({ ip, scope }: HostEndpoint): string {
    if (!scope || !isLinkLocal6(ip)) return ip;
    const via = this.interfaces().find((each) => each.scope === scope);
    return via === undefined ? ip : `${ip}%${via.name}`;
  }

  connect(to: HostEndpoint | HostPath, from: HostEndpoint | undefined): HostConnection {
    if ("path" in to) return this.#track(net.connect({ path: pathToText(to.path), allowHalfOpen: true }), false);
    const isAny = from === undefined || from.ip === "0.0.0.0" || from.ip === "::";
    const socket = net.connect({
      host: this.#literal(to),
      port: to.port,
      allowHalfOpen: true,
      ...(isAny ? {} : { localAddress: from.ip }),
      ...(from === undefined || from.port === 0 ? {} : { localPort: from.port }),
    });
    return this.#track(socket, true);
  }

  #track(socket: net.Socket, isTcp: boolean): NodeConnection {
    const connection = new NodeConnection(socket, isTcp, this.#open);
    this.#open.add(connection);
    return connection;
  }

  datagram(options: HostDatagramOptions): HostDatagram {
    const socket = new NodeDatagram(options, this.#open);
    this.#open.add(socket);
    return socket;
  }

  /** Closes everything, as the end of a process does. @returns when what was written has gone out */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((each) => each.dispose()));
  }
}

class NodeListener implements HostListener {
  readonly #server: net.Server;
  readonly #path: string | undefined;
  readonly #open: Set<{ dispose(): void | Promise<void> }>;
  readonly local: HostEndpoint;
  #take: ((connection: HostConnection) => void) | undefined;

  constructor(server: net.Server, path: string | undefined, open: Set<{ dispose(): void | Promise<void> }>) {
    this.#server = server;
    this.#path = path;
    this.#open = open;
    const address = server.address();
    const isTcp = address !== null && typeof address !== "string";
    this.local = isTcp ? { ip: canonicalIp(address.address), port: address.port } : NOWHERE;
    server.on("connection", (socket) => {
      if (this.#take === undefined) {
        socket.on("error", () => {});
        if (isTcp) socket.resetAndDestroy();
        else socket.destroy();
        return;
      }
      const connection = new NodeConnection(socket, isTcp, open);
      open.add(connection);
      this.#take(connection);
    });
  }

  accept(take: (connection: HostConnection) => void): void {
    this.#take = take;
  }

  close(): void {
    this.#open.delete(this);
    this.#take = undefined;
    if (this.#path === undefined) this.#server.close();
    else this.#closeNamed(this.#path);
  }

  /** Node removes the file of a Unix domain socket that it closes; Linux does not. So it must not find the file. */
  #closeNamed(path: string): void {
    const aside = `${path}.${process.pid}`;
    try {
      renameSync(path, aside);
    } catch {
      // The file is gone already, or is not ours any more.
      this.#server.close();
      return;
    }
    this.#server.close();
    renameSync(aside, path);
  }

  dispose(): void {
    this.close();
  }
}

class NodeConnection implements HostConnection {
  readonly #socket: net.Socket;
  readonly #isTcp: boolean;
  readonly #open: Set<{ dispose(): void | Promise<void> }>;
  #events: HostConnectionEvents | undefined;
  local: HostEndpoint = NOWHERE;
  remote: HostEndpoint = NOWHERE;
  pending = 0;

  constructor(socket: net.Socket, isTcp: boolean, open: Set<{ dispose(): void | Promise<void> }>) {
    this.#socket = socket;
    this.#isTcp = isTcp;
    this.#open = open;
    if (!socket.connecting) this.#learnAddresses();
    socket.on("connect", () => {
      this.#learnAddresses();
      this.#events?.connected();
    });
    socket.on("error", (error) => this.#failed(asSyscallError(error)));
    socket.on("close", () => open.delete(this));
  }

  #learnAddresses(): void {
    const { localAddress, localPort, remoteAddress, remotePort } = this.#socket;
    if (localAddress !== undefined) this.local = { ip: canonicalIp(localAddress), port: localPort ?? 0 };
    if (remoteAddress !== undefined) this.remote = { ip: canonicalIp(remoteAddress), port: remotePort ?? 0 };
  }

  #failed(error: SyscallError): void {
    const events = this.#events;
    this.#events = undefined;
    events?.failed(error.message as Parameters<HostConnectionEvents["failed"]>[0]);
  }

  start(events: HostConnectionEvents): void {
    this.#events = events;
    const socket = this.#socket;
    socket.on("data", (bytes) => this.#events?.data(bytes as Buffer));
    socket.on("end", () => this.#events?.ended());
    if (!socket.connecting) socket.resume();
  }

  write(bytes: Uint8Array): void {
    this.pending += bytes.length;
    this.#socket.write(bytes, () => {
      this.pending -= bytes.length;
      this.#events?.drained();
    });
  }

  finish(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#events = undefined;
    const socket = this.#socket;
    socket.removeAllListeners("data");
    socket.on("data", () => this.reset());
    socket.end();
    socket.resume();
  }

  reset(): void {
    this.#events = undefined;
    if (this.#isTcp && !this.#socket.connecting) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  setNoDelay(on: boolean): void {
    this.#socket.setNoDelay(on);
  }

  dispose(): void | Promise<void> {
    this.#open.delete(this);
    this.#events = undefined;
    const socket = this.#socket;
    if (this.pending === 0 || socket.connecting) {
      socket.destroy();
      return;
    }
    socket.destroySoon();
    setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref();
    return new Promise((resolve) => {
      if (socket.closed) resolve();
      else socket.once("close", () => resolve());
    });
  }
}
