/** Sockets: include/linux/socket.h, include/uapi/asm-generic/socket.h, include/uapi/linux/in.h, in6.h, tcp.h, net.h. */
export const AF_UNSPEC = 0;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
/** The rest of `type` is flags: the same bits as O_NONBLOCK and O_CLOEXEC. */
export const SOCK_TYPE_MASK = 0xf;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;
export const NETLINK_ROUTE = 0;

export const SOL_SOCKET = 1;
export const SO_DEBUG = 1;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_DONTROUTE = 5;
export const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_OOBINLINE = 10;
export const SO_NO_CHECK = 11;
export const SO_PRIORITY = 12;
export const SO_LINGER = 13;
export const SO_BSDCOMPAT = 14;
export const SO_REUSEPORT = 15;
export const SO_PASSCRED = 16;
export const SO_PEERCRED = 17;
export const SO_RCVLOWAT = 18;
export const SO_SNDLOWAT = 19;
export const SO_RCVTIMEO = 20;
export const SO_SNDTIMEO = 21;
export const SO_BINDTODEVICE = 25;
export const SO_DETACH_FILTER = 27;
export const SO_PEERNAME = 28;
export const SO_TIMESTAMP = 29;
export const SO_ACCEPTCONN = 30;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_PASSSEC = 34;
export const SO_TIMESTAMPNS = 35;
export const SO_MARK = 36;
export const SO_TIMESTAMPING = 37;
export const SO_PROTOCOL = 38;
export const SO_DOMAIN = 39;
export const SO_RXQ_OVFL = 40;
export const SO_PEEK_OFF = 42;
export const SO_LOCK_FILTER = 44;
export const SO_SELECT_ERR_QUEUE = 45;
export const SO_BUSY_POLL = 46;
export const SO_MAX_PACING_RATE = 47;
export const SO_INCOMING_CPU = 49;
export const SO_MEMINFO = 55;
export const SO_INCOMING_NAPI_ID = 56;
export const SO_COOKIE = 57;
export const SO_PEERGROUPS = 59;
export const SO_TIMESTAMP_NEW = 63;
export const SO_TIMESTAMPNS_NEW = 64;
export const SO_RCVTIMEO_NEW = 66;
export const SO_SNDTIMEO_NEW = 67;
export const SO_PREFER_BUSY_POLL = 69;
export const SO_BUF_LOCK = 72;
export const SO_TXREHASH = 74;
export const SO_RCVMARK = 75;

export const TCP_NODELAY = 1;
export const TCP_MAXSEG = 2;
export const TCP_CORK = 3;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_SYNCNT = 7;
export const TCP_LINGER2 = 8;
export const TCP_DEFER_ACCEPT = 9;
export const TCP_WINDOW_CLAMP = 10;
export const TCP_INFO = 11;
export const TCP_QUICKACK = 12;
export const TCP_CONGESTION = 13;
export const TCP_THIN_LINEAR_TIMEOUTS = 16;
export const TCP_THIN_DUPACK = 17;
export const TCP_USER_TIMEOUT = 18;
export const TCP_FASTOPEN = 23;
export const TCP_TIMESTAMP = 24;
export const TCP_NOTSENT_LOWAT = 25;
export const TCP_SAVE_SYN = 27;
export const TCP_FASTOPEN_CONNECT = 30;
export const TCP_ULP = 31;
export const TCP_FASTOPEN_NO_COOKIE = 34;
export const TCP_INQ = 36;
export const TCP_TX_DELAY = 37;

export const UDP_CORK = 1;
export const UDP_NO_CHECK6_TX = 101;
export const UDP_NO_CHECK6_RX = 102;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
/** Most datagrams that one call makes with UDP_SEGMENT (include/linux/udp.h). */
export const UDP_MAX_SEGMENTS = 128;

export const IP_TOS = 1;
export const IP_TTL = 2;
export const IP_RECVOPTS = 6;
export const IP_RETOPTS = 7;
export const IP_PKTINFO = 8;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_RECVTTL = 12;
export const IP_RECVTOS = 13;
export const IP_MTU = 14;
export const IP_FREEBIND = 15;
export const IP_TRANSPARENT = 19;
export const IP_RECVORIGDSTADDR = 20;
export const IP_MINTTL = 21;
export const IP_NODEFRAG = 22;
export const IP_CHECKSUM = 23;
export const IP_RECVFRAGSIZE = 25;
export const IP_RECVERR_RFC4884 = 26;
export const IP_MULTICAST_IF = 32;
export const IP_MULTICAST_TTL = 33;
export const IP_MULTICAST_LOOP = 34;
export const IP_ADD_MEMBERSHIP = 35;
export const IP_DROP_MEMBERSHIP = 36;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IP_ADD_SOURCE_MEMBERSHIP = 39;
export const IP_DROP_SOURCE_MEMBERSHIP = 40;
export const MCAST_JOIN_GROUP = 42;
export const MCAST_LEAVE_GROUP = 45;
export const IP_MULTICAST_ALL = 49;
export const IP_UNICAST_IF = 50;
export const IP_LOCAL_PORT_RANGE = 51;

export const IPV6_CHECKSUM = 7;
export const IPV6_FLOWINFO = 11;
export const IPV6_UNICAST_HOPS = 16;
export const IPV6_MULTICAST_IF = 17;
export const IPV6_MULTICAST_HOPS = 18;
export const IPV6_MULTICAST_LOOP = 19;
export const IPV6_ADD_MEMBERSHIP = 20;
export const IPV6_DROP_MEMBERSHIP = 21;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_MTU = 24;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_MULTICAST_ALL = 29;
export const IPV6_RECVERR_RFC4884 = 31;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const IPV6_RECVHOPLIMIT = 51;
export const IPV6_HOPLIMIT = 52;
export const IPV6_RECVRTHDR = 56;
export const IPV6_RECVHOPOPTS = 53;
export const IPV6_RECVDSTOPTS = 58;
export const IPV6_RECVPATHMTU = 60;
export const IPV6_DONTFRAG = 62;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;
export const IPV6_AUTOFLOWLABEL = 70;
export const IPV6_ADDR_PREFERENCES = 72;
export const IPV6_MINHOPCOUNT = 73;
export const IPV6_RECVORIGDSTADDR = 74;
export const IPV6_TRANSPARENT = 75;
export const IPV6_UNICAST_IF = 76;
export const IPV6_RECVFRAGSIZE = 77;
export const IPV6_FREEBIND = 78;

export const MSG_OOB = 0x1;
export const MSG_PEEK = 0x2;
export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_EOR = 0x80;
export const MSG_WAITALL = 0x100;
export const MSG_ERRQUEUE = 0x2000;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_WAITFORONE = 0x1_0000;
export const MSG_CMSG_CLOEXEC = 0x4000_0000;

export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

export const SCM_RIGHTS = 1;
export const SCM_CREDENTIALS = 2;
/** Most descriptors in one SCM_RIGHTS message (include/net/scm.h, SCM_MAX_FD). */
export const SCM_MAX_FD = 253;

/** Longest listen queue (net/core/somaxconn). */
export const SOMAXCONN = 4096;
/** sizeof(struct sockaddr_storage): the longest address that a call takes. */
export const SOCKADDR_MAX = 128;
/** struct sockaddr_un: family and a path of up to 108 bytes. */
export const UNIX_PATH_MAX = 108;

type Names = ReadonlyMap<number, string>;

export const FAMILY_NAMES: Names = new Map([
  [AF_UNSPEC, "AF_UNSPEC"],
  [AF_UNIX, "AF_UNIX"],
  [AF_INET, "AF_INET"],
  [AF_INET6, "AF_INET6"],
  [AF_NETLINK, "AF_NETLINK"],
]);

export const SOCKET_TYPE_NAMES: Names = new Map([
  [SOCK_STREAM, "SOCK_STREAM"],
  [SOCK_DGRAM, "SOCK_DGRAM"],
  [SOCK_RAW, "SOCK_RAW"],
  [SOCK_SEQPACKET, "SOCK_SEQPACKET"],
]);

export const SOCKET_FLAG_NAMES: readonly (readonly [number, string])[] = [
  [SOCK_CLOEXEC, "SOCK_CLOEXEC"],
  [SOCK_NONBLOCK, "SOCK_NONBLOCK"],
];

export const MSG_NAMES: readonly (readonly [number, string])[] = [
  [MSG_OOB, "MSG_OOB"],
  [MSG_PEEK, "MSG_PEEK"],
  [MSG_CTRUNC, "MSG_CTRUNC"],
  [MSG_TRUNC, "MSG_TRUNC"],
  [MSG_DONTWAIT, "MSG_DONTWAIT"],
  [MSG_EOR, "MSG_EOR"],
  [MSG_WAITALL, "MSG_WAITALL"],
  [MSG_ERRQUEUE, "MSG_ERRQUEUE"],
  [MSG_NOSIGNAL, "MSG_NOSIGNAL"],
  [MSG_WAITFORONE, "MSG_WAITFORONE"],
  [MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"],
];

export const SHUTDOWN_NAMES: Names = new Map([
  [SHUT_RD, "SHUT_RD"],
  [SHUT_WR, "SHUT_WR"],
  [SHUT_RDWR, "SHUT_RDWR"],
]);

export const LEVEL_NAMES: Names = new Map([
  [IPPROTO_IP, "SOL_IP"],
  [SOL_SOCKET, "SOL_SOCKET"],
  [IPPROTO_TCP, "SOL_TCP"],
  [IPPROTO_UDP, "SOL_UDP"],
  [IPPROTO_IPV6, "SOL_IPV6"],
]);

export const OPTION_NAMES: ReadonlyMap<number, Names> = new Map([
  [
    SOL_SOCKET,
    new Map([
      [SO_DEBUG, "SO_DEBUG"],
      [SO_REUSEADDR, "SO_REUSEADDR"],
      [SO_TYPE, "SO_TYPE"],
      [SO_ERROR, "SO_ERROR"],
      [SO_DONTROUTE, "SO_DONTROUTE"],
      [SO_BROADCAST, "SO_BROADCAST"],
      [SO_SNDBUF, "SO_SNDBUF"],
      [SO_RCVBUF, "SO_RCVBUF"],
      [SO_KEEPALIVE, "SO_KEEPALIVE"],
      [SO_OOBINLINE, "SO_OOBINLINE"],
      [SO_NO_CHECK, "SO_NO_CHECK"],
      [SO_PRIORITY, "SO_PRIORITY"],
      [SO_LINGER, "SO_LINGER"],
      [SO_BSDCOMPAT, "SO_BSDCOMPAT"],
      [SO_REUSEPORT, "SO_REUSEPORT"],
      [SO_PASSCRED, "SO_PASSCRED"],
      [SO_PEERCRED, "SO_PEERCRED"],
      [SO_RCVLOWAT, "SO_RCVLOWAT"],
      [SO_SNDLOWAT, "SO_SNDLOWAT"],
      [SO_RCVTIMEO, "SO_RCVTIMEO_OLD"],
      [SO_SNDTIMEO, "SO_SNDTIMEO_OLD"],
      [SO_BINDTODEVICE, "SO_BINDTODEVICE"],
      [SO_DETACH_FILTER, "SO_DETACH_FILTER"],
      [SO_PEERNAME, "SO_PEERNAME"],
      [SO_TIMESTAMP, "SO_TIMESTAMP_OLD"],
      [SO_ACCEPTCONN, "SO_ACCEPTCONN"],
      [SO_SNDBUFFORCE, "SO_SNDBUFFORCE"],
      [SO_RCVBUFFORCE, "SO_RCVBUFFORCE"],
      [SO_PASSSEC, "SO_PASSSEC"],
      [SO_TIMESTAMPNS, "SO_TIMESTAMPNS_OLD"],
      [SO_MARK, "SO_MARK"],
      [SO_TIMESTAMPING, "SO_TIMESTAMPING_OLD"],
      [SO_PROTOCOL, "SO_PROTOCOL"],
      [SO_DOMAIN, "SO_DOMAIN"],
      [SO_RXQ_OVFL, "SO_RXQ_OVFL"],
      [SO_PEEK_OFF, "SO_PEEK_OFF"],
      [SO_LOCK_FILTER, "SO_LOCK_FILTER"],
      [SO_SELECT_ERR_QUEUE, "SO_SELECT_ERR_QUEUE"],
      [SO_BUSY_POLL, "SO_BUSY_POLL"],
      [SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE"],
      [SO_INCOMING_CPU, "SO_INCOMING_CPU"],
      [SO_MEMINFO, "SO_MEMINFO"],
      [SO_INCOMING_NAPI_ID, "SO_INCOMING_NAPI_ID"],
      [SO_COOKIE, "SO_COOKIE"],
      [SO_PEERGROUPS, "SO_PEERGROUPS"],
      [SO_TIMESTAMP_NEW, "SO_TIMESTAMP_NEW"],
      [SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS_NEW"],
      [SO_RCVTIMEO_NEW, "SO_RCVTIMEO_NEW"],
      [SO_SNDTIMEO_NEW, "SO_SNDTIMEO_NEW"],
      [SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL"],
      [SO_BUF_LOCK, "SO_BUF_LOCK"],
      [SO_TXREHASH, "SO_TXREHASH"],
      [SO_RCVMARK, "SO_RCVMARK"],
    ]),
  ],
  [
    IPPROTO_TCP,
    new Map([
      [TCP_NODELAY, "TCP_NODELAY"],
      [TCP_MAXSEG, "TCP_MAXSEG"],
      [TCP_CORK, "TCP_CORK"],
      [TCP_KEEPIDLE, "TCP_KEEPIDLE"],
      [TCP_KEEPINTVL, "TCP_KEEPINTVL"],
      [TCP_KEEPCNT, "TCP_KEEPCNT"],
      [TCP_SYNCNT, "TCP_SYNCNT"],
      [TCP_LINGER2, "TCP_LINGER2"],
      [TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"],
      [TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP"],
      [TCP_INFO, "TCP_INFO"],
      [TCP_QUICKACK, "TCP_QUICKACK"],
      [TCP_CONGESTION, "TCP_CONGESTION"],
      [TCP_THIN_LINEAR_TIMEOUTS, "TCP_THIN_LINEAR_TIMEOUTS"],
      [TCP_THIN_DUPACK, "TCP_THIN_DUPACK"],
      [TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"],
      [TCP_FASTOPEN, "TCP_FASTOPEN"],
      [TCP_TIMESTAMP, "TCP_TIMESTAMP"],
      [TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"],
      [TCP_SAVE_SYN, "TCP_SAVE_SYN"],
      [TCP_FASTOPEN_CONNECT, "TCP_FASTOPEN_CONNECT"],
      [TCP_ULP, "TCP_ULP"],
      [TCP_FASTOPEN_NO_COOKIE, "TCP_FASTOPEN_NO_COOKIE"],
      [TCP_INQ, "TCP_INQ"],
      [TCP_TX_DELAY, "TCP_TX_DELAY"],
    ]),
  ],
  [
    IPPROTO_UDP,
    new Map([
      [UDP_CORK, "UDP_CORK"],
      [UDP_NO_CHECK6_TX, "UDP_NO_CHECK6_TX"],
      [UDP_NO_CHECK6_RX, "UDP_NO_CHECK6_RX"],
      [UDP_SEGMENT, "UDP_SEGMENT"],
      [UDP_GRO, "UDP_GRO"],
    ]),
  ],
  [
    IPPROTO_IP,
    new Map([
      [IP_TOS, "IP_TOS"],
      [IP_TTL, "IP_TTL"],
      [IP_RECVOPTS, "IP_RECVOPTS"],
      [IP_RETOPTS, "IP_RETOPTS"],
      [IP_PKTINFO, "IP_PKTINFO"],
      [IP_MTU_DISCOVER, "IP_MTU_DISCOVER"],
      [IP_RECVERR, "IP_RECVERR"],
      [IP_RECVTTL, "IP_RECVTTL"],
      [IP_RECVTOS, "IP_RECVTOS"],
      [IP_MTU, "IP_MTU"],
      [IP_FREEBIND, "IP_FREEBIND"],
      [IP_TRANSPARENT, "IP_TRANSPARENT"],
      [IP_RECVORIGDSTADDR, "IP_RECVORIGDSTADDR"],
      [IP_MINTTL, "IP_MINTTL"],
      [IP_NODEFRAG, "IP_NODEFRAG"],
      [IP_CHECKSUM, "IP_CHECKSUM"],
      [IP_RECVFRAGSIZE, "IP_RECVFRAGSIZE"],
      [IP_RECVERR_RFC4884, "IP_RECVERR_RFC4884"],
      [IP_MULTICAST_IF, "IP_MULTICAST_IF"],
      [IP_MULTICAST_TTL, "IP_MULTICAST_TTL"],
      [IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP"],
      [IP_ADD_MEMBERSHIP, "IP_ADD_MEMBERSHIP"],
      [IP_DROP_MEMBERSHIP, "IP_DROP_MEMBERSHIP"],
      [IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT"],
      [IP_ADD_SOURCE_MEMBERSHIP, "IP_ADD_SOURCE_MEMBERSHIP"],
      [IP_DROP_SOURCE_MEMBERSHIP, "IP_DROP_SOURCE_MEMBERSHIP"],
      [MCAST_JOIN_GROUP, "MCAST_JOIN_GROUP"],
      [MCAST_LEAVE_GROUP, "MCAST_LEAVE_GROUP"],
      [IP_MULTICAST_ALL, "IP_MULTICAST_ALL"],
      [IP_UNICAST_IF, "IP_UNICAST_IF"],
      [IP_LOCAL_PORT_RANGE, "IP_LOCAL_PORT_RANGE"],
    ]),
  ],
  [
    IPPROTO_IPV6,
    new Map([
      [MCAST_JOIN_GROUP, "MCAST_JOIN_GROUP"],
      [MCAST_LEAVE_GROUP, "MCAST_LEAVE_GROUP"],
      [IPV6_CHECKSUM, "IPV6_CHECKSUM"],
      [IPV6_FLOWINFO, "IPV6_FLOWINFO"],
      [IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"],
      [IPV6_MULTICAST_IF, "IPV6_MULTICAST_IF"],
      [IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS"],
      [IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP"],
      [IPV6_ADD_MEMBERSHIP, "IPV6_ADD_MEMBERSHIP"],
      [IPV6_DROP_MEMBERSHIP, "IPV6_DROP_MEMBERSHIP"],
      [IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER"],
      [IPV6_MTU, "IPV6_MTU"],
      [IPV6_RECVERR, "IPV6_RECVERR"],
      [IPV6_V6ONLY, "IPV6_V6ONLY"],
      [IPV6_MULTICAST_ALL, "IPV6_MULTICAST_ALL"],
      [IPV6_RECVERR_RFC4884, "IPV6_RECVERR_RFC4884"],
      [IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"],
      [IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT"],
      [IPV6_RECVRTHDR, "IPV6_RECVRTHDR"],
      [IPV6_RECVHOPOPTS, "IPV6_RECVHOPOPTS"],
      [IPV6_RECVDSTOPTS, "IPV6_RECVDSTOPTS"],
      [IPV6_RECVPATHMTU, "IPV6_RECVPATHMTU"],
      [IPV6_DONTFRAG, "IPV6_DONTFRAG"],
      [IPV6_RECVTCLASS, "IPV6_RECVTCLASS"],
      [IPV6_TCLASS, "IPV6_TCLASS"],
      [IPV6_AUTOFLOWLABEL, "IPV6_AUTOFLOWLABEL"],
      [IPV6_ADDR_PREFERENCES, "IPV6_ADDR_PREFERENCES"],
      [IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT"],
      [IPV6_RECVORIGDSTADDR, "IPV6_RECVORIGDSTADDR"],
      [IPV6_TRANSPARENT, "IPV6_TRANSPARENT"],
      [IPV6_UNICAST_IF, "IPV6_UNICAST_IF"],
      [IPV6_RECVFRAGSIZE, "IPV6_RECVFRAGSIZE"],
      [IPV6_FREEBIND, "IPV6_FREEBIND"],
    ]),
  ],
]);
