;; Is asked where its input may be put, and names a place beyond its memory. Nothing is written there; the call is trapped.
(core module $guest
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0xfffffff0))
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
