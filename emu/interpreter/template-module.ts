import { TEMPLATE_INDEX, TEMPLATE_INDEX_BITS, TEMPLATES } from "../layout.ts";
import { call, I32, type I32Expr, I64, type I64Expr, i32, i64, type LocalRef, select } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { v128 } from "../wasm/simd.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import {
  CHAINED,
  DECODED,
  FIELD,
  FIELD_BYTES,
  FIELDS,
  KIND,
  LONGEST_HEAD,
  OPCODE,
  OPCODES,
  PLACES,
  REGISTER_FIELDS,
  SHAPE,
  SHARED,
  TEMPLATE,
  TEMPLATE_FLAG,
  TEMPLATE_SIZE,
  VARIABLE,
} from "./template.ts";

const c = (value: number): I32Expr => i32.const(value);
const shared = (address: number): I32Expr => i32.load(c(0), address);

/** Adds what looks instructions up in the templates (template.ts) to a module; returns the index of `decode`. */
export function addTemplates(module: ModuleBuilder): number {
  const head = module.add(buildHead(), [I32], "head");
  const shape = module.add(buildShape(), [I32], "shape");
  const search = module.add(buildSearch(), [I32], "search");
  const find = module.add(buildFindTemplate(head, shape, search), [I32]);
  module.add(buildIndexTemplates(), [], "indexTemplates");
  return module.add(buildDecode(find), [I32], "decode");
}

/**
 * head(p): length of the head of the instruction at wasm address `p`; 0 where there is none that templates take.
 * SHARED.rex, opcode, modrm (addresses; 0 for none) and opcodeFlags tell what is in it.
 */
function buildHead(): FunctionBuilder {
  const f = new FunctionBuilder([I32]);
  const start = f.param(0, I32);
  const at = f.local(I32);
  const byte = f.local(I32);
  const flags = f.local(I32);
  const rex = f.local(I32);
  const skip = (count: number): void => f.set(at, i32.add(at, c(count)));
  const isByte = (value: number): I32Expr => i32.eq(byte, c(value));
  f.set(at, start);
  f.set(rex, c(0));
  f.loop((again) => {
    f.set(byte, i32.load8u(at));
    f.if(i32.and(i32.load8u(byte, OPCODES), c(OPCODE.prefix)), () => {
      // A REX prefix counts only right before the opcode (SDM Vol. 2A, 2.2.1).
      f.set(rex, select(i32.eq(i32.and(byte, c(0xf0)), c(0x40)), at, c(0)));
      skip(1);
      f.if(i32.gtU(i32.sub(at, start), c(LONGEST_HEAD)), () => f.return(c(0)));
      f.branch(again);
    });
  });
  f.block((found) => {
    f.if(isByte(0x0f), () => {
      f.set(byte, i32.load8u(at, 1));
      skip(1);
      f.if(i32.or(isByte(0x38), isByte(0x3a)), () => {
        skip(1);
        f.set(flags, c(OPCODE.modrm));
        f.branch(found);
      });
      f.set(flags, i32.load8u(byte, OPCODES + 256));
      f.branch(found);
    });
    // VEX (SDM Vol. 2A, 2.3.5): all instructions but VZEROUPPER and VZEROALL have a ModRM byte.
    f.if(isByte(0xc5), () => {
      f.set(flags, select(i32.ne(i32.load8u(at, 2), c(0x77)), c(OPCODE.modrm | OPCODE.exact), c(OPCODE.exact)));
      skip(2);
      f.branch(found);
    });
    f.if(isByte(0xc4), () => {
      const other = i32.or(i32.ne(i32.load8u(at, 3), c(0x77)), i32.ne(i32.and(i32.load8u(at, 1), c(0x1f)), c(1)));
      f.set(flags, select(other, c(OPCODE.modrm | OPCODE.exact), c(OPCODE.exact)));
      skip(3);
      f.branch(found);
    });
    // EVEX, whose displacement is scaled.
    f.if(isByte(0x62), () => f.return(c(0)));
    f.set(flags, i32.load8u(byte, OPCODES));
  });
  f.storeI32(c(0), rex, SHARED.rex);
  f.storeI32(c(0), at, SHARED.opcode);
  f.storeI32(c(0), flags, SHARED.opcodeFlags);
  f.storeI32(c(0), c(0), SHARED.modrm);
  skip(1);
  f.if(i32.and(flags, c(OPCODE.modrm)), () => {
    f.storeI32(c(0), at, SHARED.modrm);
    f.set(byte, i32.load8u(at));
    skip(1);
    const hasSib = i32.and(i32.ltU(byte, c(0xc0)), i32.eq(i32.and(byte, c(7)), c(4)));
    f.set(at, i32.add(at, hasSib));
  });
  const length = f.let(i32.sub(at, start));
  f.return(select(i32.gtU(length, c(LONGEST_HEAD)), c(0), length));
  return f;
}

/** Writes the first `length` bytes at `at` to SHARED.key, zeros behind them, and a last byte. */
function writeKey(f: FunctionBuilder, at: I32Expr, length: I32Expr, last: I32Expr): void {
  const bits = (bytes: I32Expr): I64Expr => i64.extendI32U(i32.shl(bytes, c(3)));
  f.if(
    i32.leU(length, c(8)),
    () => {
      const shift = f.let(bits(i32.sub(c(8), length)));
      f.storeInt(64, c(0), i64.shrU(i64.shl(i64.load(at), shift), shift), SHARED.key);
      f.storeInt(64, c(0), i64.const(0), SHARED.key + 8);
    },
    () => {
      const shift = f.let(bits(i32.sub(c(16), length)));
      f.storeInt(64, c(0), i64.load(at), SHARED.key);
      f.storeInt(64, c(0), i64.shrU(i64.shl(i64.load(at, 8), shift), shift), SHARED.key + 8);
    },
  );
  f.storeInt(8, c(0), i64.extendI32U(last), SHARED.key + TEMPLATE.keyLength);
}

/**
 * shape(p, length): the key of an instruction's shape, its head without the numbers of its registers, in SHARED.key, and
 * these numbers in SHARED.registers; for a head that `head` has just looked at.
 * @returns VARIABLE bits of the registers that were taken out
 */
function buildShape(): FunctionBuilder {
  const f = new FunctionBuilder([I32, I32]);
  const start = f.param(0, I32);
  const length = f.param(1, I32);
  const free = f.local(I32);
  const rex = f.local(I32);
  const byte = f.local(I32);
  const part = f.local(I32);
  const flags = f.let(shared(SHARED.opcodeFlags));
  f.set(free, c(0));
  f.if(i32.and(flags, c(OPCODE.exact)), () => f.return(c(0)));
  writeKey(f, start, length, i32.or(length, c(SHAPE)));
  f.set(rex, c(0));
  f.if(shared(SHARED.rex), () => f.set(rex, i32.load8u(shared(SHARED.rex))));
  /** Takes a register out: three bits of the instruction, and one of REX. */
  const take = (variable: number, bits: I32Expr, rexBit: number): void => {
    const high = i32.shl(i32.ne(i32.and(rex, c(rexBit)), c(0)), c(3));
    f.storeI32(c(0), i32.or(bits, high), SHARED.registers + variable * 4);
    f.set(free, i32.or(free, c(variable)));
    f.set(rex, i32.and(rex, c(0xff ^ rexBit)));
  };
  const keyPlace = (at: I32Expr): I32Expr => i32.sub(at, start);
  f.if(i32.and(flags, c(OPCODE.register)), () => {
    const at = f.let(shared(SHARED.opcode));
    f.set(byte, i32.load8u(at));
    take(VARIABLE.base, i32.and(byte, c(7)), 1);
    f.storeInt(8, keyPlace(at), i64.extendI32U(i32.and(byte, c(0xf8))), SHARED.key);
  });
  f.if(shared(SHARED.modrm), () => {
    const at = f.let(shared(SHARED.modrm));
    f.set(byte, i32.load8u(at));
    const mod = f.let(i32.and(byte, c(0xc0)));
    f.set(part, mod);
    f.if(
      i32.and(flags, c(OPCODE.group)),
      () => f.set(part, i32.or(part, i32.and(byte, c(0x38)))),
      () => take(VARIABLE.register, i32.and(i32.shrU(byte, c(3)), c(7)), 4),
    );
    const rm = f.let(i32.and(byte, c(7)));
    f.if(
      i32.eq(mod, c(0xc0)),
      () => {
        f.if(
          i32.and(flags, c(OPCODE.fixedRm)),
          () => f.set(part, i32.or(part, rm)),
          () => take(VARIABLE.base, rm, 1),
        );
      },
      () => {
        f.if(
          i32.eq(rm, c(4)),
          () => {
            const sib = f.let(i32.load8u(at, 1));
            const index = f.let(i32.and(i32.shrU(sib, c(3)), c(7)));
            const scale = i32.and(sib, c(0xc0));
            const rest = f.local(I32);
            f.set(part, i32.or(part, c(4)));
            f.if(
              i32.or(i32.ne(index, c(4)), i32.and(rex, c(2))),
              () => {
                take(VARIABLE.index, index, 2);
                f.set(rest, scale);
              },
              () => f.set(rest, i32.or(scale, c(4 << 3))),
            );
            const base = f.let(i32.and(sib, c(7)));
            f.if(
              i32.and(i32.eq(base, c(5)), i32.eqz(mod)),
              () => f.set(rest, i32.or(rest, base)),
              () => take(VARIABLE.base, base, 1),
            );
            f.storeInt(8, keyPlace(at), i64.extendI32U(rest), SHARED.key + 1);
          },
          () => {
            f.if(
              i32.and(i32.eq(rm, c(5)), i32.eqz(mod)),
              () => f.set(part, i32.or(part, rm)),
              () => take(VARIABLE.base, rm, 1),
            );
          },
        );
      },
    );
    f.storeInt(8, keyPlace(at), i64.extendI32U(part), SHARED.key);
  });
  f.if(shared(SHARED.rex), () => f.storeInt(8, keyPlace(shared(SHARED.rex)), i64.extendI32U(rex), SHARED.key));
  f.return(free);
  return f;
}

/** find(p): the template of the instruction at `p`; 0 if there is none. */
function buildFindTemplate(head: number, shape: number, search: number): FunctionBuilder {
  const f = new FunctionBuilder([I32]);
  const at = f.param(0, I32);
  const length = f.local(I32);
  const template = f.local(I32);
  f.set(length, call(I32, head, [at]));
  f.if(i32.eqz(length), () => f.return(c(0)));
  const searchKey = (): I32Expr =>
    call(I32, search, [i64.load(c(0), SHARED.key), i64.load(c(0), SHARED.key + TEMPLATE.key + 8)]);
  const follow = (): void => {
    f.set(template, searchKey());
    f.if(template, () => {
      f.if(i32.eqz(i32.and(i32.load8u(template, TEMPLATE.flags), c(TEMPLATE_FLAG.chain))), () => f.return(template));
      // The immediate goes behind the head.
      const end = i32.add(at, i32.load8u(template, TEMPLATE.length));
      f.storeInt(8, length, i64.load8u(i32.sub(end, c(1))), SHARED.key);
      const last = i32.load8u(c(0), SHARED.key + TEMPLATE.keyLength);
      f.storeInt(8, c(0), i64.extendI32U(i32.or(i32.add(last, c(1)), c(CHAINED))), SHARED.key + TEMPLATE.keyLength);
      f.set(template, searchKey());
      f.if(template, () => f.return(template));
    });
  };
  f.if(call(I32, shape, [at, length]), follow);
  writeKey(f, at, length, length);
  follow();
  f.return(c(0));
  return f;
}

/** First entry of the template index that a key may be in. The index holds numbers of templates, from 1 on. */
function indexEntry(low: I64Expr, high: I64Expr): I32Expr {
  const mixed = i64.mul(
    i64.xor(low, i64.mul(high, i64.const(0xff51_afd7_ed55_8ccdn))),
    i64.const(0x9e37_79b9_7f4a_7c15n),
  );
  return i32.shl(i32.wrap(i64.shrU(mixed, i64.const(64 - TEMPLATE_INDEX_BITS))), c(2));
}

const nextEntry = (entry: I32Expr): I32Expr => i32.and(i32.add(entry, c(4)), c(((1 << TEMPLATE_INDEX_BITS) - 1) * 4));
/** Address of a template, from its number in the index. */
const templateAt = (number: I32Expr): I32Expr =>
  i32.add(i32.mul(number, c(TEMPLATE_SIZE)), c(TEMPLATES - TEMPLATE_SIZE));

/** search(low, high): the template with a key, as two words; 0 if there is none. */
function buildSearch(): FunctionBuilder {
  const f = new FunctionBuilder([I64, I64]);
  const low = f.param(0, I64);
  const high = f.param(1, I64);
  const entry = f.local(I32);
  const template = f.local(I32);
  f.set(entry, indexEntry(low, high));
  f.loop((again) => {
    f.set(template, i32.load(entry, TEMPLATE_INDEX));
    f.if(i32.eqz(template), () => f.return(c(0)));
    f.set(template, templateAt(template));
    const found = i64.eqz(
      i64.or(i64.xor(i64.load(template, TEMPLATE.key), low), i64.xor(i64.load(template, TEMPLATE.key + 8), high)),
    );
    f.if(found, () => f.return(template));
    f.set(entry, nextEntry(entry));
    f.branch(again);
  });
  f.unreachable();
  return f;
}

/** indexTemplates(first, end): lets templates be found; numbers from 0 on. */
function buildIndexTemplates(): FunctionBuilder {
  const f = new FunctionBuilder([I32, I32]);
  const number = f.param(0, I32);
  const entry = f.local(I32);
  f.block((done) => {
    f.loop((again) => {
      f.branchIf(done, i32.geU(number, f.param(1, I32)));
      f.set(number, i32.add(number, c(1)));
      const template = f.let(templateAt(number));
      f.set(entry, indexEntry(i64.load(template, TEMPLATE.key), i64.load(template, TEMPLATE.key + 8)));
      f.loop((taken) => {
        f.if(i32.load(entry, TEMPLATE_INDEX), () => {
          f.set(entry, nextEntry(entry));
          f.branch(taken);
        });
      });
      f.storeI32(entry, number, TEMPLATE_INDEX);
      f.branch(again);
    });
  });
  return f;
}

/**
 * decode(p, record, count, most, limit, pageEnd): writes the records of the instructions from wasm address `p` on,
 * which is their linear address too.
 * @returns DECODED; SHARED.count and SHARED.address tell how far it came
 */
function buildDecode(find: number): FunctionBuilder {
  const f = new FunctionBuilder([I32, I32, I32, I32, I32, I32]);
  const at = f.param(0, I32);
  const record = f.param(1, I32);
  const count = f.param(2, I32);
  const most = f.param(3, I32);
  const limit = f.param(4, I32);
  const pageEnd = f.param(5, I32);
  const template = f.local(I32);
  const result = f.local(I32);
  f.block((done) => {
    f.loop((again) => {
      f.set(result, c(DECODED.unknown));
      f.set(template, call(I32, find, [at]));
      f.branchIf(done, i32.eqz(template));
      const next = f.let(i32.add(at, i32.load8u(template, TEMPLATE.length)));
      f.branchIf(done, i32.gtU(next, limit));
      for (let part = 0; part < RECORD_SIZE; part += 16) {
        f.storeV128(record, v128.load(template, TEMPLATE.record + part), part);
      }
      writeRegisters(f, template, record);
      writeFields(f, template, record, at, next);
      f.set(count, i32.add(count, c(1)));
      f.storeInt(16, record, i64.extendI32U(count), RECORD.count);
      f.storeInt(64, record, i64.extendI32U(at), RECORD.address);
      f.storeInt(64, record, i64.extendI32U(next), RECORD.next);
      f.set(record, i32.add(record, c(RECORD_SIZE)));
      f.set(at, next);
      f.set(result, c(DECODED.ends));
      f.branchIf(done, i32.and(i32.load8u(template, TEMPLATE.flags), c(TEMPLATE_FLAG.ends)));
      f.set(result, c(DECODED.full));
      f.branchIf(done, i32.eq(count, most));
      f.set(result, c(DECODED.page));
      f.branchIf(again, i32.ltU(at, pageEnd));
    });
  });
  f.storeI32(c(0), count, SHARED.count);
  f.storeI32(c(0), at, SHARED.address);
  f.return(result);
  return f;
}

/** The places of the registers that a shape leaves open. */
function writeRegisters(f: FunctionBuilder, template: I32Expr, record: I32Expr): void {
  const all = f.let(i32.shrU(i32.load(template, TEMPLATE.registers - 1), c(8)));
  f.if(all, () => {
    REGISTER_FIELDS.forEach((field, i) => {
      const one = f.let(i32.and(i32.shrU(all, c(4 * i)), c(15)));
      f.if(one, () => {
        // Two bits say which register, two how its number becomes a place.
        const variable = i32.shl(c(1), i32.sub(i32.and(one, c(3)), c(1)));
        const number = i32.load(i32.shl(variable, c(2)), SHARED.registers);
        const place = i32.add(i32.shl(i32.shrU(one, c(2)), c(5)), i32.shl(number, c(1)));
        f.storeInt(16, record, i64.load16u(place, PLACES), field);
      });
    });
  });
}

/** The values that follow the head. */
function writeFields(
  f: FunctionBuilder,
  template: I32Expr,
  record: I32Expr,
  at: LocalRef<typeof I32>,
  next: I32Expr,
): void {
  const value = f.local(I64);
  FIELDS.forEach((field, i) => {
    const place = TEMPLATE.fields + i * FIELD_BYTES;
    const size = f.let(i32.load8u(template, place + FIELD.size));
    f.if(size, () => {
      const kind = f.let(i32.load8u(template, place + FIELD.kind));
      const shift = f.let(i64.extendI32U(i32.shl(i32.sub(c(8), size), c(3))));
      const has = (bit: number): I32Expr => i32.and(kind, c(bit));
      f.set(value, i64.shl(i64.load(i32.add(at, i32.load8u(template, place + FIELD.offset))), shift));
      f.set(value, select(has(KIND.unsigned), i64.shrU(value, shift), i64.shrS(value, shift)));
      f.if(has(KIND.relative), () => f.set(value, i64.add(value, i64.extendI32U(next))));
      f.if(has(KIND.cut32), () => f.set(value, i64.and(value, i64.const(0xffff_ffff))));
      f.if(has(KIND.cut16), () => f.set(value, i64.and(value, i64.const(0xffff))));
      f.storeInt(field.bits, record, value, field.at);
    });
  });
}
