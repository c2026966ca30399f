import { IUTF8, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TABDLY, type Termios, XTABS } from "../abi/termios.ts";

const NL = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const BS = 0x08;
const TAB_WIDTH = 8;

/** Is it a byte in the middle of a character of UTF-8? */
export const continues = (byte: number): boolean => (byte & 0xc0) === 0x80;
/** iscntrl(3) for ASCII. */
export const isControl = (byte: number): boolean => byte < 0x20 || byte === 0x7f;

/** Letters are Latin-1's for a terminal (lib/ctype.c). */
const isLower = (byte: number): boolean => (byte >= 0x61 && byte <= 0x7a) || (byte >= 0xdf && byte !== 0xf7);
export const isUpper = (byte: number): boolean =>
  (byte >= 0x41 && byte <= 0x5a) || (byte >= 0xc0 && byte <= 0xde && byte !== 0xd7);
export const isLetter = (byte: number): boolean => isLower(byte) || isUpper(byte);

/**
 * What becomes of bytes on their way to a terminal (termios(3), c_oflag; Linux: drivers/tty/n_tty.c, do_output_char). It
 * keeps the column, which tabs and erasing depend on.
 */
export class OutputProcessing {
  column = 0;
  /** Column where the line begins that is being typed; whatever begins a new line begins it, too (canon_column). */
  lineColumn = 0;

  #home(): void {
    this.column = 0;
    this.lineColumn = 0;
  }

  /** The bytes that a byte becomes, appended to `to`. */
  process(byte: number, { oflag, iflag }: Termios, to: number[]): void {
    if (!(oflag & OPOST)) {
      to.push(byte);
      return;
    }
    switch (byte) {
      case NL:
        if (oflag & ONLRET) this.column = 0;
        if (oflag & ONLCR) {
          this.#home();
          to.push(CR, NL);
          return;
        }
        this.lineColumn = this.column;
        break;
      case CR:
        if (oflag & ONOCR && this.column === 0) return;
        if (oflag & OCRNL) {
          if (oflag & ONLRET) this.#home();
          to.push(NL);
          return;
        }
        this.#home();
        break;
      case TAB: {
        const spaces = TAB_WIDTH - (this.column % TAB_WIDTH);
        this.column += spaces;
        if ((oflag & TABDLY) === XTABS) {
          for (let i = 0; i < spaces; i++) to.push(0x20);
          return;
        }
        break;
      }
      case BS:
        if (this.column > 0) this.column--;
        break;
      default:
        if (isControl(byte)) break;
        if (!(iflag & IUTF8 && continues(byte))) this.column++;
        if (oflag & OLCUC && isLower(byte)) {
          to.push(byte - 0x20);
          return;
        }
    }
    to.push(byte);
  }
}
