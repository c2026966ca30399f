/** A terminal's settings: include/uapi/asm-generic/termbits.h and termbits-common.h, termios(3). */

/** c_iflag. */
export const IGNBRK = 0o1;
export const BRKINT = 0o2;
export const IGNPAR = 0o4;
export const PARMRK = 0o10;
export const INPCK = 0o20;
export const ISTRIP = 0o40;
export const INLCR = 0o100;
export const IGNCR = 0o200;
export const ICRNL = 0o400;
export const IUCLC = 0o1000;
export const IXON = 0o2000;
export const IXANY = 0o4000;
export const IXOFF = 0o10000;
export const IMAXBEL = 0o20000;
export const IUTF8 = 0o40000;

/** c_oflag. */
export const OPOST = 0o1;
export const OLCUC = 0o2;
export const ONLCR = 0o4;
export const OCRNL = 0o10;
export const ONOCR = 0o20;
export const ONLRET = 0o40;
export const TABDLY = 0o14000;
export const XTABS = 0o14000;

/** c_cflag. */
export const CBAUD = 0o10017;
export const BOTHER = 0o10000;
export const B38400 = 0o17;
export const CSIZE = 0o60;
export const CS8 = 0o60;
export const CREAD = 0o200;
export const PARENB = 0o400;
export const CLOCAL = 0o4000;

/** c_lflag. */
export const ISIG = 0o1;
export const ICANON = 0o2;
export const XCASE = 0o4;
export const ECHO = 0o10;
export const ECHOE = 0o20;
export const ECHOK = 0o40;
export const ECHONL = 0o100;
export const NOFLSH = 0o200;
export const TOSTOP = 0o400;
export const ECHOCTL = 0o1000;
export const ECHOPRT = 0o2000;
export const ECHOKE = 0o4000;
export const FLUSHO = 0o10000;
export const PENDIN = 0o40000;
export const IEXTEN = 0o100000;
export const EXTPROC = 0o200000;

/** Indexes of c_cc. */
export const VINTR = 0;
export const VQUIT = 1;
export const VERASE = 2;
export const VKILL = 3;
export const VEOF = 4;
export const VTIME = 5;
export const VMIN = 6;
export const VSTART = 8;
export const VSTOP = 9;
export const VSUSP = 10;
export const VEOL = 11;
export const VREPRINT = 12;
export const VWERASE = 14;
export const VLNEXT = 15;
export const VEOL2 = 16;
/** NCCS: control characters of struct termios. */
export const CONTROL_CHARACTERS = 19;
/** What stands for "none" among the control characters (_POSIX_VDISABLE). */
export const DISABLED = 0;

/** Bytes of struct termio, struct termios and struct termios2. */
export const TERMIO_SIZE = 18;
export const TERMIOS_SIZE = 36;
export const TERMIOS2_SIZE = 44;
/** Control characters of struct termio. */
const OLD_CONTROL_CHARACTERS = 8;

/** A terminal's settings, whatever the form in which they are handed over. */
export interface Termios {
  readonly iflag: number;
  readonly oflag: number;
  readonly cflag: number;
  readonly lflag: number;
  /** The line discipline, 0 for N_TTY. */
  readonly line: number;
  /** CONTROL_CHARACTERS bytes. */
  readonly cc: Uint8Array;
  /** In bits a second. */
  readonly ispeed: number;
  readonly ospeed: number;
}

/** Speeds by the bits of c_cflag; from bit 0o10000 on the list goes on (drivers/tty/tty_baudrate.c, baud_table). */
const SPEEDS = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
const MORE_SPEEDS = [
  57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000,
  4000000,
];

/** The speed that c_cflag names; 0 for one that is given by number (BOTHER). */
function speedOf(cflag: number): number {
  const bits = cflag & CBAUD;
  if (bits & BOTHER) return MORE_SPEEDS[(bits & 0o17) - 1] ?? 0;
  return SPEEDS[bits];
}

/** A terminal as the kernel makes it (drivers/tty/tty_io.c, tty_std_termios; asm-generic/termios-base.h, INIT_C_CC). */
export const STANDARD_TERMIOS: Termios = {
  iflag: ICRNL | IXON,
  oflag: OPOST | ONLCR,
  cflag: B38400 | CS8 | CREAD,
  lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
  line: 0,
  cc: Uint8Array.of(3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0),
  ispeed: 38400,
  ospeed: 38400,
};

/** The same settings? */
export function sameTermios(a: Termios, b: Termios): boolean {
  return (
    a.iflag === b.iflag &&
    a.oflag === b.oflag &&
    a.cflag === b.cflag &&
    a.lflag === b.lflag &&
    a.cc.every((character, i) => character === b.cc[i])
  );
}

const flagsOf = ({ iflag, oflag, cflag, lflag }: Termios): number[] => [iflag, oflag, cflag, lflag];

/** Writes struct termios (36 bytes), or struct termios2 (44), which has the speeds behind it. */
export function encodeTermios(termios: Termios, size: typeof TERMIOS_SIZE | typeof TERMIOS2_SIZE): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (const [i, flags] of flagsOf(termios).entries()) view.setUint32(i * 4, flags, true);
  bytes[16] = termios.line;
  bytes.set(termios.cc, 17);
  if (size === TERMIOS2_SIZE) {
    view.setUint32(36, termios.ispeed, true);
    view.setUint32(40, termios.ospeed, true);
  }
  return bytes;
}

/** Reads struct termios or, where there are 44 bytes, struct termios2. */
export function decodeTermios(bytes: Uint8Array): Termios {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const cflag = view.getUint32(8, true);
  const named = (cflag & CBAUD) !== BOTHER;
  const given = bytes.length === TERMIOS2_SIZE && !named;
  return {
    iflag: view.getUint32(0, true),
    oflag: view.getUint32(4, true),
    cflag,
    lflag: view.getUint32(12, true),
    line: bytes[16],
    cc: bytes.slice(17, 17 + CONTROL_CHARACTERS),
    ispeed: given ? view.getUint32(36, true) : speedOf(cflag),
    ospeed: given ? view.getUint32(40, true) : speedOf(cflag),
  };
}

/** Writes struct termio, System V's form: 16 bits of each word of flags, and eight control characters. */
export function encodeTermio(termios: Termios): Uint8Array {
  const bytes = new Uint8Array(TERMIO_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [i, flags] of flagsOf(termios).entries()) view.setUint16(i * 2, flags & 0xffff, true);
  bytes[8] = termios.line;
  bytes.set(termios.cc.subarray(0, OLD_CONTROL_CHARACTERS), 9);
  return bytes;
}

/** Reads struct termio; what it does not have stays as it is in `before` (drivers/tty/tty_ioctl.c, user_termio_to_kernel_termios). */
export function decodeTermio(bytes: Uint8Array, before: Termios): Termios {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const flags = (i: number, old: number): number => ((old & 0xffff_0000) | view.getUint16(i * 2, true)) >>> 0;
  const cc = before.cc.slice();
  cc.set(bytes.subarray(9, 9 + OLD_CONTROL_CHARACTERS));
  const cflag = flags(2, before.cflag);
  return {
    iflag: flags(0, before.iflag),
    oflag: flags(1, before.oflag),
    cflag,
    lflag: flags(3, before.lflag),
    line: bytes[8],
    cc,
    ispeed: speedOf(cflag),
    ospeed: speedOf(cflag),
  };
}
