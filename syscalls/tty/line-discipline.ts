import { SIGNAL } from "../abi/signals.ts";
import * as abi from "../abi/termios.ts";
import { STANDARD_TERMIOS, type Termios } from "../abi/termios.ts";
import { continues, isControl, isLetter, isUpper, OutputProcessing } from "./output-processing.ts";

const NL = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const BS = 0x08;
const SPACE = 0x20;
const BELL = 0x07;
const CARET = 0x5e;

/** Bytes that can wait to be read (Linux: drivers/tty/n_tty.c, N_TTY_BUF_SIZE). */
const CAPACITY = 4096;

/** What an end of a line looks like to read(2): its last byte is kept, or, for VEOF, it is none. */
const PLAIN = 0;
const ENDS_LINE = 1;
const ENDS_FILE = 2;

/** Where a line discipline's effects go. */
export interface DisciplineSink {
  /** Bytes for whoever looks at the terminal. */
  output(bytes: readonly number[]): void;
  /** A signal for the group in the foreground. */
  signal(signal: number): void;
  /** Output is held (VSTOP), or goes on (VSTART). */
  flow(stopped: boolean): void;
  /** Forget what has been written and not been seen (a signal without NOFLSH). */
  flushOutput(): void;
}

const isWord = (byte: number): boolean => (byte >= 0x30 && byte <= 0x39) || isLetter(byte) || byte === 0x5f;

/**
 * The line discipline of a terminal within the machine (termios(3); Linux: drivers/tty/n_tty.c): what is typed becomes
 * lines that can be edited, echoes, signals; what is written gets its carriage returns.
 */
export class LineDiscipline {
  #termios: Termios = STANDARD_TERMIOS;
  readonly #sink: DisciplineSink;
  readonly #shown = new OutputProcessing();
  /** What has been typed and not read: bytes, each with what it ends. */
  #bytes: number[] = [];
  #marks: number[] = [];
  /** Bytes of finished lines; those behind can still be edited. In raw mode all are finished. */
  #finished = 0;
  /** Column when the piece of input began that is being received, whose echoes are shown at its end. */
  #shownColumn = 0;
  #literal = false;
  /** Bytes erased are being shown between \ and / (ECHOPRT). */
  #erasing = false;
  stopped = false;

  constructor(sink: DisciplineSink) {
    this.#sink = sink;
  }

  get termios(): Termios {
    return this.#termios;
  }

  /** Takes over settings (n_tty_set_termios): what was a line without an end is one when lines count no more. */
  set termios(termios: Termios) {
    const before = this.#termios;
    this.#termios = { ...termios, cc: termios.cc.slice() };
    if ((before.lflag ^ termios.lflag) & abi.ICANON) {
      this.#literal = false;
      this.#erasing = false;
      if (termios.lflag & abi.ICANON) {
        // What was typed before is a line without a newline; whatever comes now begins another.
        this.#marks.fill(PLAIN);
        if (this.#bytes.length > 0) this.#marks[this.#bytes.length - 1] = ENDS_LINE;
      }
      this.#finished = this.#bytes.length;
    }
    if (this.stopped && !(termios.iflag & abi.IXON)) this.#start();
  }

  get #canonical(): boolean {
    return (this.#termios.lflag & abi.ICANON) !== 0;
  }

  /** Bytes that a read could get now (TIOCINQ; n_tty_ioctl, inq_canon). */
  get queued(): number {
    if (!this.#canonical) return this.#bytes.length;
    let count = 0;
    for (let i = 0; i < this.#finished; i++) if (this.#marks[i] !== ENDS_FILE) count++;
    return count;
  }

  /** Is there something to read: a line, or in raw mode so many bytes? */
  hasInput(minimum = 1): boolean {
    return this.#canonical ? this.#finished > 0 : this.#bytes.length >= Math.max(1, minimum);
  }

  /** How many bytes can be typed without any being lost. While a line is open none is refused: what is too much is lost. */
  get room(): number {
    return this.#canonical && this.#finished === 0 ? CAPACITY : CAPACITY - 1 - this.#bytes.length;
  }

  /** Takes out what a read gets, at most `max` bytes: in canonical mode no more than one line. */
  take(max: number): Uint8Array {
    if (!this.#canonical) return this.#drop(Math.min(max, this.#bytes.length));
    let count = 0;
    while (count < this.#finished && count < max && this.#marks[count] === PLAIN) count++;
    const ends = count < this.#finished ? this.#marks[count] : PLAIN;
    // The end of a file takes no room: a read that stops just before it takes it along.
    if (ends === ENDS_FILE) {
      const line = this.#drop(count);
      this.#drop(1);
      return line;
    }
    return this.#drop(ends === ENDS_LINE && count < max ? count + 1 : count);
  }

  #drop(count: number): Uint8Array {
    const bytes = Uint8Array.from(this.#bytes.splice(0, count));
    this.#marks.splice(0, count);
    this.#finished = this.#canonical ? Math.max(0, this.#finished - count) : this.#bytes.length;
    return bytes;
  }

  flushInput(): void {
    this.#bytes = [];
    this.#marks = [];
    this.#finished = 0;
    this.#literal = false;
    this.#erasing = false;
  }

  /** What becomes of bytes that a program writes. */
  written(bytes: Uint8Array): number[] {
    const out: number[] = [];
    for (const byte of bytes) this.#shown.process(byte, this.#termios, out);
    return out;
  }

  /** Somebody types (n_tty_receive_buf). */
  type(bytes: Uint8Array): void {
    this.#shownColumn = this.#shown.column;
    for (const byte of bytes) this.#receive(byte);
  }

  /** A byte is typed (n_tty_receive_char_special, in its order). */
  #receive(typed: number): void {
    const { iflag, lflag, cc } = this.#termios;
    let byte = typed;
    if (iflag & abi.ISTRIP) byte &= 0x7f;
    if (iflag & abi.IUCLC && lflag & abi.IEXTEN && isUpper(byte)) byte += 0x20;
    if (lflag & abi.EXTPROC) {
      this.#put(byte);
      return;
    }
    if (this.#literal) {
      this.#literal = false;
      this.#ordinary(byte);
      return;
    }
    const is = (index: number): boolean => byte !== abi.DISABLED && byte === cc[index];
    if (this.#control(byte, is)) return;
    if (this.stopped && iflag & abi.IXON && iflag & abi.IXANY) this.#start();
    let isNewLine = false;
    if (byte === CR) {
      if (iflag & abi.IGNCR) return;
      if (iflag & abi.ICRNL) {
        byte = NL;
        isNewLine = true;
      }
    } else if (byte === NL && iflag & abi.INLCR) byte = CR;
    if (this.#canonical && this.#edit(byte, is)) return;
    this.#ordinary(byte, isNewLine);
  }

  /** Characters that hold output and that send signals. @returns was it one? */
  #control(byte: number, is: (index: number) => boolean): boolean {
    const { iflag, lflag } = this.#termios;
    if (iflag & abi.IXON && is(abi.VSTART)) {
      this.#start();
      return true;
    }
    if (iflag & abi.IXON && is(abi.VSTOP)) {
      this.stopped = true;
      this.#sink.flow(true);
      return true;
    }
    const signal = lflag & abi.ISIG ? SIGNALS.find(([index]) => is(index)) : undefined;
    if (signal === undefined) return false;
    this.#signal(byte, signal[1]);
    return true;
  }

  /** Control characters of lines. @returns was it one? */
  #edit(byte: number, is: (index: number) => boolean): boolean {
    const { lflag } = this.#termios;
    const extended = (lflag & abi.IEXTEN) !== 0;
    if (is(abi.VERASE) || is(abi.VKILL) || (is(abi.VWERASE) && extended)) {
      this.#erase(is(abi.VKILL) ? "line" : is(abi.VERASE) ? "character" : "word", byte);
      return true;
    }
    if (is(abi.VLNEXT) && extended) {
      this.#literal = true;
      if (lflag & abi.ECHO) {
        this.#finishErasing();
        if (lflag & abi.ECHOCTL) this.#showAll([CARET, BS]);
      }
      return true;
    }
    if (is(abi.VREPRINT) && lflag & abi.ECHO && extended) {
      this.#finishErasing();
      this.#echo(byte);
      this.#show(NL);
      for (const each of this.#bytes.slice(this.#finished)) this.#echo(each);
      return true;
    }
    if (byte === NL) {
      if (lflag & (abi.ECHO | abi.ECHONL)) this.#show(NL);
      this.#endLine(byte, ENDS_LINE);
      return true;
    }
    if (is(abi.VEOF)) {
      this.#endLine(abi.DISABLED, ENDS_FILE);
      return true;
    }
    if (is(abi.VEOL) || (is(abi.VEOL2) && extended)) {
      if (lflag & abi.ECHO) this.#echoFirst(byte);
      this.#endLine(byte, ENDS_LINE);
      return true;
    }
    return false;
  }

  /**
   * A character that means nothing but itself.
   * @param isNewLine shown as one: a line feed that was typed as such is ^J where lines do not count
   */
  #ordinary(byte: number, isNewLine = false): void {
    const full = this.#bytes.length >= CAPACITY - 1;
    if (full) {
      if (this.#termios.iflag & abi.IMAXBEL) this.#raw([BELL]);
      return;
    }
    if (this.#termios.lflag & abi.ECHO) {
      this.#finishErasing();
      if (isNewLine) this.#show(NL);
      else this.#echoFirst(byte);
    }
    if (this.#termios.iflag & abi.PARMRK && byte === 0xff) this.#put(byte);
    this.#put(byte);
  }

  #put(byte: number): void {
    if (this.#bytes.length >= CAPACITY - 1) return;
    this.#bytes.push(byte);
    this.#marks.push(PLAIN);
    if (!this.#canonical) this.#finished = this.#bytes.length;
  }

  #endLine(byte: number, mark: number): void {
    // There is always room for the end of a line.
    this.#bytes.push(byte);
    this.#marks.push(mark);
    this.#finished = this.#bytes.length;
  }

  /** isig(): a character that interrupts throws away what has been typed and written, unless NOFLSH. */
  #signal(byte: number, signal: number): void {
    const { lflag, iflag } = this.#termios;
    if (!(lflag & abi.NOFLSH)) {
      this.flushInput();
      this.#sink.flushOutput();
      // The echoes of this piece have never been shown (n_tty.c, isig: reset_buffer_flags).
      this.#shown.column = this.#shownColumn;
    }
    this.#sink.signal(signal);
    if (iflag & abi.IXON) this.#start();
    if (lflag & abi.ECHO) this.#echo(byte);
  }

  #start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.#sink.flow(false);
  }

  /** A byte of a line is echoed; where the line begins is noted. */
  #echoFirst(byte: number): void {
    if (this.#bytes.length === this.#finished) this.#shown.lineColumn = this.#shown.column;
    this.#echo(byte);
  }

  /** Shows a byte as echoes do: control characters as ^X (echo_char). */
  #echo(byte: number): void {
    if (this.#termios.lflag & abi.ECHOCTL && isControl(byte) && byte !== TAB) {
      this.#raw([CARET, byte ^ 0x40]);
      this.#shown.column += 2;
    } else if (byte === 0xff) {
      // What stands for operations among the echoes that wait (ECHO_OP_START) is shown as it is.
      this.#raw([byte]);
      this.#shown.column++;
    } else this.#show(byte);
  }

  #show(byte: number): void {
    const out: number[] = [];
    this.#shown.process(byte, this.#termios, out);
    this.#raw(out);
  }

  #showAll(bytes: readonly number[]): void {
    for (const byte of bytes) this.#show(byte);
  }

  #raw(bytes: readonly number[]): void {
    if (bytes.length > 0) this.#sink.output(bytes);
  }

  #finishErasing(): void {
    if (!this.#erasing) return;
    this.#show(0x2f);
    this.#erasing = false;
  }

  /** eraser(): takes back a character, a word or the line that is being edited. */
  #erase(what: "character" | "word" | "line", byte: number): void {
    const { lflag } = this.#termios;
    if (this.#bytes.length === this.#finished) return;
    if (what === "line") {
      if (!(lflag & abi.ECHO)) {
        this.#unput(this.#bytes.length - this.#finished);
        return;
      }
      if (!(lflag & abi.ECHOK && lflag & abi.ECHOKE && lflag & abi.ECHOE)) {
        this.#unput(this.#bytes.length - this.#finished);
        this.#finishErasing();
        this.#echo(byte);
        // A KILL character that cannot be shown as erasing is followed by a new line.
        if (lflag & abi.ECHOK) this.#show(NL);
        return;
      }
    }
    let inWord = false;
    while (this.#bytes.length > this.#finished) {
      let count = 1;
      if (this.#termios.iflag & abi.IUTF8) {
        while (continues(this.#bytes.at(-count)!) && this.#bytes.length - count > this.#finished) count++;
        // The rest of a character whose first byte has been read stays.
        if (continues(this.#bytes.at(-count)!)) break;
      }
      const erased = this.#bytes.at(-count)!;
      if (what === "word") {
        if (isWord(erased)) inWord = true;
        else if (inWord) break;
      }
      const gone = this.#bytes.slice(-count);
      this.#unput(count);
      if (lflag & abi.ECHO) this.#showErased(what, byte, erased, gone);
      if (what === "character") break;
    }
    if (this.#bytes.length === this.#finished && lflag & abi.ECHO) this.#finishErasing();
  }

  #showErased(what: string, byte: number, erased: number, gone: readonly number[]): void {
    const { lflag } = this.#termios;
    if (lflag & abi.ECHOPRT) {
      if (!this.#erasing) {
        this.#show(0x5c);
        this.#erasing = true;
      }
      this.#echo(erased);
      // The kernel takes a column back for each further byte, which has not taken one (ECHO_OP_MOVE_BACK_COL).
      for (const byte of gone.slice(1)) {
        this.#show(byte);
        if (this.#shown.column > 0) this.#shown.column--;
      }
    } else if (what === "character" && !(lflag & abi.ECHOE)) this.#echo(byte);
    else if (erased === TAB) this.#eraseTab();
    else {
      if (isControl(erased) && lflag & abi.ECHOCTL) this.#back();
      if (!isControl(erased) || lflag & abi.ECHOCTL) this.#back();
    }
  }

  #back(): void {
    this.#showAll([BS, SPACE, BS]);
  }

  /** Goes back over a tab: how far depends on what is left of the line (process_echoes, ECHO_OP_ERASE_TAB). */
  #eraseTab(): void {
    let column = 0;
    let fromTab = false;
    for (let i = this.#bytes.length - 1; i >= this.#finished; i--) {
      const byte = this.#bytes[i];
      if (byte === TAB) {
        fromTab = true;
        break;
      }
      if (isControl(byte)) column += this.#termios.lflag & abi.ECHOCTL ? 2 : 0;
      else if (!(this.#termios.iflag & abi.IUTF8 && continues(byte))) column++;
    }
    if (!fromTab) column += this.#shown.lineColumn;
    for (let left = 8 - (column % 8); left > 0; left--) {
      this.#raw([BS]);
      if (this.#shown.column > 0) this.#shown.column--;
    }
  }

  #unput(count: number): void {
    this.#bytes.length -= count;
    this.#marks.length -= count;
  }
}

const SIGNALS: readonly (readonly [index: number, signal: number])[] = [
  [abi.VINTR, SIGNAL.SIGINT],
  [abi.VQUIT, SIGNAL.SIGQUIT],
  [abi.VSUSP, SIGNAL.SIGTSTP],
];
