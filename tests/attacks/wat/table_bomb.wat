;; Grows a table: first to 50,000 elements, which it may have, then by four thousand million, which would take 32 GiB, and goes on
;; as if it had been given them. A table is memory too: the call ends as `exceeded func_ram`.
(core module $guest
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32)
    ;; Returning nonsense instead of trapping tells that it was denied what it may have.
    (if (i32.eq (table.grow $table (ref.null func) (i32.const 50000)) (i32.const -1)) (then (return (i32.const 1))))
    (drop (table.grow $table (ref.null func) (i32.const 0xf0000000)))
    unreachable))
