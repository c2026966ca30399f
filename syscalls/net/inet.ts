import { SyscallError } from "../abi/errno.ts";
import { AF_INET, AF_INET6, AF_UNSPEC } from "../abi/socket.ts";
import { type Endpoint, type InetAddress, inetAddress, type SocketAddress } from "./address.ts";
import { ANY4, ANY6, isAny, isIpv4, LOOPBACK4, LOOPBACK6 } from "./ip.ts";
import { Pending } from "./pending.ts";
import type { Bound } from "./port-table.ts";
import { Socket } from "./socket.ts";

export type InetFamily = typeof AF_INET | typeof AF_INET6;

/** Ports below are for the superuser (net/ipv4/ip_unprivileged_port_start). */
const PRIVILEGED = 1024;

/** What TCP and UDP sockets have in common: addresses and ports. */
export abstract class InetSocket extends Socket implements Bound {
  declare readonly family: InetFamily;
  local: Endpoint | undefined;
  remote: Endpoint | undefined;
  v6only = false;

  /** The table that this socket's port stands in. */
  protected abstract enter(): void;
  protected abstract leave(): void;
  protected abstract isTaken(ip: string, port: number): boolean;
  protected abstract ephemeralPort(): number;
  /** Takes a local address on the host; resolves to what it is. */
  protected abstract reserve(at: Endpoint): Promise<Endpoint>;

  get wildcard(): string {
    return this.family === AF_INET ? ANY4 : ANY6;
  }

  /**
   * An address as this socket may use it.
   * @throws SyscallError EAFNOSUPPORT for another family, EINVAL for one too short, ENETUNREACH for IPv4 if IPv6 only
   */
  protected own(address: SocketAddress): InetAddress {
    if (address.family !== AF_INET && address.family !== AF_INET6) throw new SyscallError("EAFNOSUPPORT");
    if (address.family !== this.family) throw new SyscallError("EAFNOSUPPORT");
    if (this.family === AF_INET6 && this.v6only && isIpv4(address.ip)) throw new SyscallError("ENETUNREACH");
    return address;
  }

  override bind(address: SocketAddress): Pending | undefined {
    if (this.underway !== undefined) return this.underway;
    // An AF_UNSPEC address of zeros is taken for AF_INET's wildcard (net/ipv4/af_inet.c, __inet_bind).
    const wanted = address.family === AF_UNSPEC ? inetAddress(this.family, undefined) : address;
    if (wanted.family !== this.family) throw new SyscallError("EAFNOSUPPORT");
    const { ip, port, scope } = wanted;
    if (this.v6only && isIpv4(ip)) throw new SyscallError("EINVAL");
    const { network } = this;
    if (network.host === undefined) {
      if (!network.isLocal(ip)) throw new SyscallError("EADDRNOTAVAIL");
      if (port !== 0 && port < PRIVILEGED && network.owner.euid !== 0) throw new SyscallError("EACCES");
    }
    if (this.local !== undefined) throw new SyscallError("EINVAL");
    return this.bindTo(scope === undefined ? { ip, port } : { ip, port, scope });
  }

  /** Gives the socket an address of its own; port 0 is any free one. @throws SyscallError EADDRINUSE */
  protected bindTo(at: Endpoint): Pending | undefined {
    const { ip, port } = at;
    if (port !== 0 && this.isTaken(ip, port)) throw new SyscallError("EADDRINUSE");
    const { network } = this;
    if (network.host === undefined) {
      this.setLocal({ ...at, port: port === 0 ? this.ephemeralPort() : port });
      return undefined;
    }
    // The port is taken while the host thinks.
    this.setLocal(at);
    const reserved = this.reserve(at).then(
      (actual) => {
        if (!this.closed) this.setLocal({ ...at, port: actual.port });
      },
      (error: unknown) => {
        if (!this.closed) this.setLocal(undefined);
        throw error;
      },
    );
    this.underway = new Pending(reserved, () => network.owner.wakeUp());
    return this.underway;
  }

  /** A local port for a socket that begins to talk without one. */
  protected autoBind(ip: string): void {
    if (this.local !== undefined) return;
    const port = this.ephemeralPort();
    if (port === 0) throw new SyscallError("EADDRNOTAVAIL");
    this.setLocal({ ip, port });
  }

  protected setLocal(local: Endpoint | undefined): void {
    if (this.local !== undefined) this.leave();
    this.local = local;
    if (local !== undefined && local.port !== 0) this.enter();
  }

  /** Where a packet for `to` goes: the wildcard address means this computer. */
  protected target(to: Endpoint): Endpoint {
    if (!isAny(to.ip)) return to;
    return { ...to, ip: to.ip === ANY4 ? LOOPBACK4 : LOOPBACK6 };
  }

  override localAddress(): SocketAddress {
    return inetAddress(this.family, this.local);
  }

  override peerAddress(): SocketAddress {
    if (this.remote === undefined) throw new SyscallError("ENOTCONN");
    return inetAddress(this.family, this.remote);
  }
}
