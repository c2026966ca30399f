// Vector and floating-point groups: each adds its rows to the table.
import "./crypto.ts";
import "./evex-convert.ts";
import "./evex-integer.ts";
import "./opmask-instructions.ts";
import "./float-approximate.ts";
import "./float-arithmetic.ts";
import "./float-compare.ts";
import "./float-convert.ts";
import "./fma.ts";
import "./string-compare.ts";
import "./vector-integer.ts";
import "./vector-masked.ts";
import "./vector-move.ts";
import "./vector-permute.ts";
import "./vector-shift.ts";
import "./vector-shuffle.ts";
