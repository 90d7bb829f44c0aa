;; Begins with more data than its memory has room for, so that it cannot be made. The call is trapped.
(core module $guest
  (memory (export "memory") 1)
  (data (i32.const 0xfffe) "more than two bytes")
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
