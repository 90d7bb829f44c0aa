;; Is asked where its input may be put, and computes for ever instead of answering. That is part of the call, and its timeout ends
;; it.
(core module $guest
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop $forever (br $forever)) unreachable)
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
