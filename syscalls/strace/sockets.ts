import { AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, FAMILY_NAMES } from "../abi/socket.ts";
import { pathToBytes } from "../files/path.ts";
import { decodeAddress, type SocketAddress } from "../net/address.ts";
import { ipv6Bytes, isIpv4 } from "../net/ip.ts";
import { escapeBytes, named } from "./text.ts";

/** A struct sockaddr as strace shows it. */
export function formatAddress(bytes: Uint8Array): string {
  return describe(decodeAddress(bytes), bytes);
}

function describe(address: SocketAddress, bytes: Uint8Array): string {
  switch (address.family) {
    case AF_INET:
      return `{sa_family=AF_INET, sin_port=htons(${address.port}), sin_addr=inet_addr("${address.ip}")}`;
    case AF_INET6: {
      const ip = isIpv4(address.ip) ? `::ffff:${address.ip}` : address.ip;
      const scope = ipv6Bytes(address.ip)[0] === 0xfe ? `, sin6_scope_id=${address.scope ?? 0}` : "";
      return `{sa_family=AF_INET6, sin6_port=htons(${address.port}), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "${ip}", &sin6_addr)${scope}}`;
    }
    case AF_UNIX: {
      if (address.path === "") return "{sa_family=AF_UNIX}";
      const isAbstract = address.path.startsWith("\0");
      const name = escapeBytes(pathToBytes(isAbstract ? address.path.slice(1) : address.path));
      return `{sa_family=AF_UNIX, sun_path=${isAbstract ? "@" : ""}"${name}"}`;
    }
    case AF_NETLINK: {
      const groups = address.groups.toString(16).padStart(8, "0");
      return `{sa_family=AF_NETLINK, nl_pid=${address.port}, nl_groups=${groups}}`;
    }
    default:
      return `{sa_family=${named(bytes[0] | (bytes[1] << 8), FAMILY_NAMES, "AF")}}`;
  }
}
