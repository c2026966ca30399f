import { type ErrnoName, errno } from "../abi/errno.ts";
import { IP_RECVERR, IPPROTO_IP, IPPROTO_IPV6, IPV6_RECVERR, MSG_ERRQUEUE, MSG_TRUNC } from "../abi/socket.ts";
import type { IoVector } from "../files/io-vector.ts";
import { type Endpoint, inetAddress } from "./address.ts";
import type { InetFamily } from "./inet.ts";
import { isIpv4 } from "./ip.ts";
import { socketAddress } from "./packet.ts";
import type { Received } from "./socket.ts";

/** include/uapi/linux/errqueue.h: who reports; icmp.h and icmpv6.h: that nobody listens at the port. */
const ORIGIN = { icmp: 2, icmp6: 3 };
const PORT_UNREACHABLE = { icmp: [3, 3], icmp6: [1, 4] } as const;

interface Report {
  readonly error: ErrnoName;
  /** The datagram that could not be delivered. */
  readonly bytes: Uint8Array;
  readonly to: Endpoint;
}

/** What IP_RECVERR keeps: datagrams that could not be delivered, and why (ip(7); net/ipv4/ip_sockglue.c, ip_recv_error). */
export class ErrorQueue {
  readonly #reports: Report[] = [];

  get length(): number {
    return this.#reports.length;
  }

  /** The error of the first report. */
  get error(): ErrnoName | undefined {
    return this.#reports[0]?.error;
  }

  push(report: Report): void {
    this.#reports.push(report);
  }

  /** recvmsg with MSG_ERRQUEUE: the datagram, where it was sent to, and a struct sock_extended_err with its reporter. */
  receive(to: IoVector, family: InetFamily): Received | undefined {
    const report = this.#reports.shift();
    if (report === undefined) return undefined;
    const { bytes, error } = report;
    const { ip } = report.to;
    const kind = isIpv4(ip) ? "icmp" : "icmp6";
    const address = socketAddress(ip, 0);
    const data = new Uint8Array(16 + address.length);
    new DataView(data.buffer).setUint32(0, errno[error], true);
    data.set([ORIGIN[kind], ...PORT_UNREACHABLE[kind]], 4);
    data.set(address, 16);
    const count = to.put(bytes.subarray(0, Math.min(bytes.length, to.remaining)));
    const [level, type] = isIpv4(ip) ? [IPPROTO_IP, IP_RECVERR] : [IPPROTO_IPV6, IPV6_RECVERR];
    return {
      count,
      length: count,
      from: inetAddress(family, report.to),
      flags: MSG_ERRQUEUE | (count < bytes.length ? MSG_TRUNC : 0),
      rights: [],
      control: [{ level, type, data }],
    };
  }
}
