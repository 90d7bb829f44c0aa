;; Computes for ever before it can even be called: while its instance is made. That is part of the call, and its timeout ends it.
(core module $guest
  (memory (export "memory") 1)
  (func $start (loop $forever (br $forever)))
  (start $start)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
