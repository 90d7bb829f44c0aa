;; Calls through a table with a type of the garbage collection proposal, which makes wasmtime 48.0.8 abort where it was built
;; without the collector (GHSA-rc4p-x33f-vpr2). The proposal is not offered: nobody compiles it.
(core module $guest
  (type $open (sub (func)))
  (type $plain (func))
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func $other (type $plain))
  (elem (i32.const 0) $other)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32)
    (call_indirect $table (type $open) (i32.const 0))
    unreachable))
