import type { HostInterfaceAddress } from "../../host/network.ts";
import { directory, file, type VirtualDirectory } from "../files/virtual.ts";
import { interfaceNumbers } from "../net/interfaces.ts";
import { canonicalIp, ipv6Bytes, isIpv4, isLinkLocal6, isLoopback } from "../net/ip.ts";
import type { Process } from "../process.ts";

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

/** /proc/self/net, what /proc/net leads to: the interfaces and their groups. */
export function netFiles(process: Process): VirtualDirectory {
  return directory({
    if_inet6: () => file(() => inet6Text(process)),
    igmp: () => file(() => igmpText(process)),
    igmp6: () => file(() => igmp6Text(process)),
  });
}
