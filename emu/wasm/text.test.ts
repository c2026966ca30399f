import { describe, expect, it } from "vitest";
import {
  call,
  callIndirect,
  type Expr,
  F32,
  F64,
  f32,
  f64,
  I32,
  I64,
  i32,
  i64,
  LocalRef,
  Place,
  select,
  V128,
} from "./expr.ts";
import { FunctionBuilder } from "./function.ts";
import { ModuleBuilder } from "./module.ts";
import { WasmFormatError } from "./reader.ts";
import { f32x4, f64x2, i8x16, i16x8, i32x4, i64x2, v128 } from "./simd.ts";
import { moduleText } from "./text.ts";

const PARAMS = [I32, I64, F32, F64, V128] as const;
const [P32, P64, PF32, PF64, PV] = PARAMS.map((type, i) => new LocalRef(type, i)) as [
  LocalRef<typeof I32>,
  LocalRef<typeof I64>,
  LocalRef<typeof F32>,
  LocalRef<typeof F64>,
  LocalRef<typeof V128>,
];

const EVEN = Array.from({ length: 16 }, (_, i) => i * 2);

/** A module with one function, which the engine has found valid. */
function assemble(write: (f: FunctionBuilder, module: ModuleBuilder) => void, name?: string): Uint8Array {
  const module = new ModuleBuilder(1, [{ name: "table", slots: 8, signature: { params: [I32, I32], results: [I32] } }]);
  module.import("helper", { params: [I64], results: [I32] });
  module.import("note", { params: [I32], results: [] });
  const builder = new FunctionBuilder(PARAMS);
  write(builder, module);
  module.add(builder, [], undefined, name);
  const bytes = module.finish();
  new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  return bytes;
}

/** The lines of the function between its first and its last, without the declaration of locals. */
function bodyOf(bytes: Uint8Array, options?: Parameters<typeof moduleText>[1]): string[] {
  const lines = moduleText(bytes, options).split("\n");
  const start = lines.findIndex((line) => line.startsWith("  (func"));
  const body = lines.slice(start + 1, lines.indexOf("  )", start)).map((line) => line.slice(4));
  return body.filter((line) => !line.startsWith("(local"));
}
const text = (write: (f: FunctionBuilder, module: ModuleBuilder) => void): string[] => bodyOf(assemble(write));
const valueText = (value: Expr): string[] => text((f) => f.set(f.local(value.type), value)).slice(0, -1);

/** The instruction that a factory of expressions writes: with the first operands, of whatever types, that are valid. */
function mnemonicOf(factory: (...args: never[]) => Expr): string | undefined {
  const operands: unknown[] = [new Uint8Array(16), P32, P64, PF32, PF64, PV, 1];
  const tuples = (length: number): unknown[][] =>
    length === 0 ? [[]] : tuples(length - 1).flatMap((rest) => operands.map((operand) => [...rest, operand]));
  for (const args of tuples(factory.length)) {
    try {
      const lines = valueText((factory as (...args: unknown[]) => Expr)(...args));
      return lines.at(-1)?.split(" ")[0];
    } catch (error) {
      // The operands have other types.
      const expected = [WebAssembly.CompileError, TypeError, SyntaxError];
      if (!expected.some((kind) => error instanceof kind)) throw error;
    }
  }
  return undefined;
}

/** The text format's name of a factory: `i64x2.extendLowI32x4S` is i64x2.extend_low_i32x4_s. */
function nameOf(shape: string, key: string): string {
  const special = { wrap: "wrap_i64", replace: "replace_lane", extract: "extract_lane" }[key];
  if (special !== undefined) return `${shape}.${special}`;
  if (key === "shuffle") return "i8x16.shuffle";
  const words = key.replace(/(?<=\d)[su]$/, "_$&").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return `${shape}.${words.replace(/^extract_/, "extract_lane_")}`;
}

describe("moduleText", () => {
  it.each(
    Object.entries({ i32, i64, f32, f64, v128, i8x16, i16x8, i32x4, i64x2, f32x4, f64x2 }),
  )("names what the assembler writes for %s", (shape, factories) => {
    const found = Object.fromEntries(Object.entries(factories).map(([key, make]) => [key, mnemonicOf(make)]));
    expect(found).toEqual(Object.fromEntries(Object.keys(factories).map((key) => [key, nameOf(shape, key)])));
  });

  it("has the statements and the structure of a function", () => {
    const lines = text((f) => {
      f.block((done) => {
        f.loop((again) => {
          f.branchIf(again, P32, true);
          f.if(
            P32,
            () => f.branch(done),
            () => f.unreachable(),
            false,
          );
          f.branchTable([again, done, { depth: 0 }], P32);
        });
      });
      f.block(() => f.return());
      f.callVoid(1, [call(I32, 0, [P64])]);
      f.set(f.local(I32), callIndirect(I32, 0, [P32, P32], P32));
      f.memoryCopy(P32, P32, P32);
      f.memoryFill(P32, P32, P32);
    });
    expect(lines).toEqual([
      "block $block1",
      "  loop $loop2",
      "    local.get 0",
      "    br_if $loop2  ;; likely",
      "    local.get 0",
      "    if  ;; unlikely",
      "      br $block1",
      "    else",
      "      unreachable",
      "    end",
      "    local.get 0",
      "    br_table $loop2 $block1 2",
      "  end $loop2",
      "end $block1",
      "block",
      "  return",
      "end",
      "local.get 1",
      "call $helper",
      "call $note",
      "local.get 0",
      "local.get 0",
      "local.get 0",
      "call_indirect (type 0)",
      "local.set 5",
      "local.get 0",
      "local.get 0",
      "local.get 0",
      "memory.copy",
      "local.get 0",
      "local.get 0",
      "local.get 0",
      "memory.fill",
    ]);
  });

  it("has stores, with offsets, and with alignments where they are not the natural ones", () => {
    const lines = text((f) => {
      for (const bits of [8, 16, 32, 64]) f.storeInt(bits, P32, P64, 8);
      f.storeI32(new Place(P32, 0x1000), P32, 4);
      f.storeFloat(P32, PF32);
      f.storeFloat(P32, PF64);
      f.storeV128(P32, PV);
      f.set(f.local(I64), i64.load32u(P32, 16));
    }).filter((line) => !line.startsWith("local."));
    expect(lines).toEqual([
      "i64.store8 offset=8",
      "i64.store16 offset=8 align=1",
      "i64.store32 offset=8 align=1",
      "i64.store offset=8 align=1",
      "i32.store offset=0x1004 align=1",
      "f32.store align=1",
      "f64.store align=1",
      "v128.store align=1",
      "i64.load32_u offset=16 align=1",
    ]);
  });

  it("has a tail call where the assembler makes one", () => {
    const module = new ModuleBuilder(
      1,
      [{ name: "table", slots: 8, signature: { params: [I32, I32], results: [I32] } }],
      true,
    );
    const builder = new FunctionBuilder([I32, I32]);
    const [a, b] = [builder.param(0, I32), builder.param(1, I32)];
    builder.returnCallIndirect(0, [a, b], a);
    module.add(builder, [I32]);
    expect(bodyOf(module.finish()).at(-1)).toBe("return_call_indirect (type 0)");
  });

  it.each([
    ["i32.const -1", i32.const(-1)],
    ["i32.const 0x7fffffff", i32.const(0x7fff_ffff)],
    ["i32.const -0x80000000", i32.const(-0x8000_0000)],
    ["i64.const -0x8000000000000000", i64.const(-0x8000_0000_0000_0000n)],
    ["i64.const 64", i64.const(64)],
    ["f32.const 0.1", f32.const(0.1)],
    ["f32.const -16777216", f32.const(-16777216)],
    ["f64.const -0", f64.const(-0)],
    ["f64.const 5e-324", f64.const(5e-324)],
    ["f64.const -inf", f64.const(Number.NEGATIVE_INFINITY)],
    ["f64.const nan:0x8000000000000", f64.const(Number.NaN)],
    ["v128.const i32x4 0x3020100 0x7060504 0xb0a0908 0xf0e0d0c", v128.const(Uint8Array.from(Array(16).keys()))],
    ["i8x16.shuffle 0 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30", v128.shuffle(PV, PV, EVEN)],
    ["i16x8.replace_lane 7", i16x8.replace(PV, 7, P32)],
    ["select", select(P32, P64, P64)],
    ["select (result v128)", select(P32, PV, PV)],
  ])("prints %s", (expected, value) => {
    expect(valueText(value).at(-1)).toBe(expected);
  });

  it("names functions and locals, with what no identifier may hold replaced", () => {
    const bytes = assemble((f) => {
      const [rax, other, third] = [f.local(I64), f.local(I32), f.local(I32)];
      f.localNames = new Map([
        [rax.index, "rax"],
        [0, "cpu"],
      ]);
      f.set(rax, P64);
      f.set(other, P32);
      f.set(third, P32);
    }, "main.(*T).größe[int]");
    expect(moduleText(bytes)).toBe(`(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i64) (result i32)))
  (type (;2;) (func (param i32)))
  (type (;3;) (func (param i32 i64 f32 f64 v128)))
  (import "env" "memory" (memory 1 1))
  (import "env" "table" (table 8 8 (ref null 0)))
  (import "env" "helper" (func $helper (type 1)))
  (import "env" "note" (func $note (type 2)))
  (func $main._*T_.gr__e_int_ (type 3) (param $cpu i32) (param i64 f32 f64 v128)
    (local $rax i64) (local i32 i32)
    local.get 1
    local.set $rax
    local.get $cpu
    local.set 6
    local.get $cpu
    local.set 7
  )
)
`);
  });

  it("puts comments before the instruction at an offset of the body", () => {
    let at = 0;
    let builder: FunctionBuilder | undefined;
    const bytes = assemble((f) => {
      builder = f;
      f.block(() => {
        f.set(f.local(I32), P32);
        at = f.code.length;
        f.set(f.local(I64), P64);
      });
    });
    const offset = (builder?.codeStart() ?? 0) + at;
    const comments = (index: number, where: number): string[] =>
      index === 2 && where === offset ? ["one", "two"] : [];
    expect(bodyOf(bytes, { comments })).toEqual([
      "block",
      "  local.get 0",
      "  local.set 5",
      "  ;; one",
      "  ;; two",
      "  local.get 1",
      "  local.set 6",
      "end",
    ]);
  });

  it("refuses what is no module, wherever it is cut off", () => {
    const bytes = assemble((f) => f.block(() => f.set(f.local(I64), i64.add(P64, i64.const(1n << 40n)))), "f");
    const sections = new Set<number>();
    for (let end = 0; end < bytes.length; end++) {
      try {
        moduleText(bytes.subarray(0, end));
        // Cut off between two sections it is a module.
        sections.add(end);
      } catch (error) {
        expect(error, `${end} bytes`).toBeInstanceOf(WasmFormatError);
      }
    }
    expect(sections.size).toBeLessThanOrEqual(7);
    const unknown = bytes.slice();
    unknown[unknown.lastIndexOf(0x7c)] = 0xff;
    expect(() => moduleText(unknown)).toThrow(/^unknown opcode 0xff at byte \d+$/);
  });
});
