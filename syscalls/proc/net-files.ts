import type { HostInterfaceAddress } from "../../host/network.ts";
import { AF_INET, AF_INET6 } from "../abi/socket.ts";
import { directory, file, type VirtualDirectory } from "../files/virtual.ts";
import { interfaceNumbers } from "../net/interfaces.ts";
import { canonicalIp, ipv6Bytes, isIpv4, isLinkLocal6, isLoopback } from "../net/ip.ts";
import type { Process } from "../process.ts";
import { snmpText, softnetText, statisticsText } from "./net-statistics.ts";
import { rawText, sockstat6Text, sockstatText, tcpText, udpText, unixText } from "./socket-files.ts";

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

interface Interface {
  readonly name: string;
  readonly index: number;
  readonly addresses: readonly HostInterfaceAddress[];
}

function interfaces(process: Process): Interface[] {
  const all = process.network.interfaces();
  return [...interfaceNumbers(all)].map(([name, index]) => ({
    name,
    index,
    addresses: all.filter((each) => each.name === name),
  }));
}

const isSix = ({ ip }: HostInterfaceAddress): boolean => !isIpv4(canonicalIp(ip));

/** /proc/net/igmp (net/ipv4/igmp.c, igmp_mc_seq_show): every interface is in the group of all hosts, 224.0.0.1. */
function igmpText(process: Process): string {
  const lines = interfaces(process)
    .filter(({ addresses }) => !addresses.every(isSix))
    .map(({ index, name }) => `${index}\t${name.padEnd(10)}:     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n`);
  return `Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n${lines.join("")}`;
}

/** /proc/net/igmp6 (net/ipv6/mcast.c, igmp6_mc_seq_show): all nodes, and the solicited-node group of each address. */
function igmp6Text(process: Process): string {
  return interfaces(process)
    .flatMap(({ index, name, addresses }) => {
      const six = addresses.filter(isSix);
      if (six.length === 0) return [];
      const line = (group: string): string =>
        `${String(index).padEnd(4)} ${name.padEnd(15)} ${group}     1 0000000C 0\n`;
      const solicited = six
        .filter(({ isLoopback: loopback }) => !loopback)
        .map(({ ip }) => line(`ff0200000000000000000001ff${hex(ipv6Bytes(canonicalIp(ip)).subarray(13))}`));
      const all = ["ff02", "ff01"].map((scope) => line(`${scope}${"1".padStart(28, "0")}`));
      return [...solicited, ...all];
    })
    .join("");
}

/** /proc/net/if_inet6 (net/ipv6/addrconf.c, if6_seq_show). */
function inet6Text(process: Process): string {
  return interfaces(process)
    .flatMap(({ index, name, addresses }) =>
      addresses.filter(isSix).map(({ ip: text, prefix }) => {
        const ip = canonicalIp(text);
        const scope = isLoopback(ip) ? 0x10 : isLinkLocal6(ip) ? 0x20 : 0;
        const numbers = [index, prefix, scope, 0x80].map((value) => value.toString(16).padStart(2, "0"));
        return `${hex(ipv6Bytes(ip))} ${numbers.join(" ")} ${name.padStart(8)}\n`;
      }),
    )
    .join("");
}

/** /proc/net/dev (net/core/net-procfs.c, dev_seq_show). Node does not tell what has gone through an interface. */
function devText(process: Process): string {
  const zeros = `${[7, 7, 4, 4, 4, 5, 10, 9].map((width) => "0".padStart(width)).join(" ")} ${[8, 7, 4, 4, 4, 5, 7, 10]
    .map((width) => "0".padStart(width))
    .join(" ")}`;
  return [
    "Inter-|   Receive                                                |  Transmit\n",
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
    ...interfaces(process).map(({ name }) => `${name.padStart(6)}: ${zeros}\n`),
  ].join("");
}

/**
 * /proc/net/route (net/ipv4/fib_trie.c, fib_route_seq_show): the networks that the interfaces' addresses are in. Node does
 * not tell of gateways.
 */
function routeText(process: Process): string {
  const line = (text: string): string => `${text.padEnd(127)}\n`;
  const columns = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
  const word = (value: number): string => (value >>> 0).toString(16).toUpperCase().padStart(8, "0");
  const routes = interfaces(process).flatMap(({ name, addresses }) =>
    addresses
      .filter((address) => !isSix(address) && !address.isLoopback)
      .map(({ ip, prefix }) => {
        const bytes = ipv6Bytes(canonicalIp(ip));
        const address = new DataView(bytes.buffer, bytes.byteOffset + 12);
        const mask = new DataView(new ArrayBuffer(4));
        mask.setUint32(0, prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0);
        const shown = mask.getUint32(0, true);
        return line(
          `${name}\t${word(address.getUint32(0, true) & shown)}\t00000000\t0001\t0\t0\t0\t${word(shown)}\t0\t0\t0`,
        );
      }),
  );
  return [line(columns), ...routes].join("");
}

/** /proc/self/net, what /proc/net leads to: sockets, the interfaces and their groups, what is counted. */
export function netFiles(process: Process): VirtualDirectory {
  return directory({
    arp: () => file(() => "IP address       HW type     Flags       HW address            Mask     Device\n"),
    dev: () => file(() => devText(process)),
    if_inet6: () => file(() => inet6Text(process)),
    igmp: () => file(() => igmpText(process)),
    igmp6: () => file(() => igmp6Text(process)),
    netstat: () => file(() => statisticsText()),
    raw: () => file(() => rawText(AF_INET)),
    raw6: () => file(() => rawText(AF_INET6)),
    route: () => file(() => routeText(process)),
    snmp: () => file(() => snmpText(process)),
    sockstat: () => file(() => sockstatText(process)),
    sockstat6: () => file(() => sockstat6Text(process)),
    softnet_stat: () => file(() => softnetText(process)),
    tcp: () => file(() => tcpText(process, AF_INET)),
    tcp6: () => file(() => tcpText(process, AF_INET6)),
    udp: () => file(() => udpText(process, AF_INET)),
    udp6: () => file(() => udpText(process, AF_INET6)),
    unix: () => file(() => unixText(process)),
  });
}
