import { renameSync, writeSync } from "node:fs";
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
import { asSyscallError, attempt } from "./errors.ts";

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
    if ("path" in to) {
      const { path } = to;
      return this.#track((onread) => net.connect({ path: pathToText(path), allowHalfOpen: true, onread }), false);
    }
    const isAny = from === undefined || from.ip === "0.0.0.0" || from.ip === "::";
    const options = {
      host: this.#literal(to),
      port: to.port,
      allowHalfOpen: true,
      ...(isAny ? {} : { localAddress: from.ip }),
      ...(from === undefined || from.port === 0 ? {} : { localPort: from.port }),
    };
    return this.#track((onread) => net.connect({ ...options, onread }), true);
  }

  #track(open: OpenSocket, isTcp: boolean): NodeConnection {
    const connection = new NodeConnection(open, isTcp, this.#open);
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
      const connection = new NodeConnection((onread) => withBuffer(socket, onread), isTcp, open);
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

/** What Node reads into, one connection after another: whoever is told of bytes copies them. */
const RECEIVED = new Uint8Array(0x1_0000);

/** Makes a socket that reads into a buffer of ours (net.Socket's option `onread`), and tells of it there. */
type OpenSocket = (onread: net.OnReadOpts) => net.Socket;

/** What net.Socket has, but its types do not tell of: libuv's stream, which a constructor takes as well. */
interface StreamHandle {
  /** Its descriptor, where the system has such. */
  readonly fd?: number;
}
type SocketWithHandle = net.Socket & { _handle?: StreamHandle | null };

/**
 * A server's sockets are made without the option `onread`, so that Node makes a buffer of 64 KiB for each read. Another
 * socket takes over the stream, which has not been read from yet.
 */
function withBuffer(socket: SocketWithHandle, onread: net.OnReadOpts): net.Socket {
  const { _handle: handle } = socket;
  if (!handle) {
    socket.on("data", (bytes) => void onread.callback(bytes.length, bytes as Buffer));
    return socket;
  }
  socket._handle = null;
  const options = { handle, allowHalfOpen: true, pauseOnCreate: true, onread };
  return new net.Socket(options as unknown as net.SocketConstructorOpts);
}

class NodeConnection implements HostConnection {
  readonly #socket: net.Socket;
  readonly #isTcp: boolean;
  readonly #open: Set<{ dispose(): void | Promise<void> }>;
  #events: HostConnectionEvents | undefined;
  local: HostEndpoint = NOWHERE;
  remote: HostEndpoint = NOWHERE;
  pending = 0;
  /** The socket's descriptor while it is connected; -1 without. */
  #fd = -1;
  /** Nobody is there any more for what arrives. */
  #abandoned = false;
  #finished = false;

  constructor(openSocket: OpenSocket, isTcp: boolean, open: Set<{ dispose(): void | Promise<void> }>) {
    const callback = (count: number, buffer: Uint8Array): boolean => {
      if (this.#abandoned) this.reset();
      else this.#events?.data(buffer.subarray(0, count));
      return true;
    };
    const socket = openSocket({ buffer: RECEIVED, callback });
    this.#socket = socket;
    this.#isTcp = isTcp;
    this.#open = open;
    if (!socket.connecting) this.#connected();
    socket.on("connect", () => {
      this.#connected();
      this.#events?.connected();
    });
    socket.on("error", (error) => this.#failed(asSyscallError(error)));
    socket.on("close", () => open.delete(this));
  }

  #connected(): void {
    this.#fd = (this.#socket as SocketWithHandle)._handle?.fd ?? -1;
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
    socket.on("end", () => this.#events?.ended());
    if (!socket.connecting) socket.resume();
  }

  writeNow(bytes: Uint8Array, at: number, length: number): number {
    // Node's streams cost more than the call itself. What goes through them comes first, and the end is theirs.
    if (this.#fd < 0 || this.pending > 0 || this.#finished || this.#socket.destroyed) return 0;
    try {
      return attempt(() => writeSync(this.#fd, bytes, at, length, null));
    } catch (error) {
      if ((error as SyscallError).message === "EAGAIN") return 0;
      this.#events = undefined;
      this.#socket.destroy();
      throw error;
    }
  }

  write(bytes: Uint8Array): void {
    this.pending += bytes.length;
    this.#socket.write(bytes, () => {
      this.pending -= bytes.length;
      this.#events?.drained();
    });
  }

  finish(): void {
    this.#finished = true;
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
    this.#abandoned = true;
    this.#socket.end();
    this.#socket.resume();
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
