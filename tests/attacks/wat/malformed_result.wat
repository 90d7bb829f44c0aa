;; Returns what no result looks like: the input says which of ten ways. Nothing that is read from it may leave the guest's memory,
;; and what is not a result ends the call as trapped.
(core module $guest
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))

  ;; Writes a result at 0: whether it is an error, and the three words after that.
  (func $result (param $discriminant i32) (param $first i32) (param $second i32) (param $third i32) (result i32)
    (i32.store (i32.const 0) (local.get $discriminant))
    (i32.store (i32.const 4) (local.get $first))
    (i32.store (i32.const 8) (local.get $second))
    (i32.store (i32.const 12) (local.get $third))
    (i32.const 0))

  (func (export "call") (param i32 i32) (param $input i32) (param i32) (result i32)
    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      ;; A small number is one byte of MessagePack.
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 (i32.load8_u (local.get $input))))
      ;; 0: a result beyond the memory
      (return (i32.const 0x7ffffffc)))
      ;; 1: a result that begins in the last bytes of the memory
      (return (i32.const 0xfffc)))
      ;; 2: a result that is not aligned
      (return (i32.const 1)))
      ;; 3: neither an output nor an error
      (return (call $result (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0))))
      ;; 4: an output beyond the memory
      (return (call $result (i32.const 0) (i32.const 0xfffffff0) (i32.const 100) (i32.const 0))))
      ;; 5: an output longer than the memory
      (return (call $result (i32.const 0) (i32.const 16) (i32.const 0xffffffff) (i32.const 0))))
      ;; 6: an error of no known kind
      (return (call $result (i32.const 1) (i32.const 200) (i32.const 0) (i32.const 0))))
      ;; 7: a refusal that is no text
      (i32.store (i32.const 512) (i32.const 0xffc0fe80))
      (return (call $result (i32.const 1) (i32.const 1) (i32.const 512) (i32.const 4))))
      ;; 8: a failure with more causes than the memory has room for
      (i32.store (i32.const 16) (i32.const 64))
      (i32.store (i32.const 20) (i32.const 0x20000000))
      (return (call $result (i32.const 1) (i32.const 0) (i32.const 512) (i32.const 0))))
    ;; 9: a failure with causes at an address that is not aligned
    (i32.store (i32.const 16) (i32.const 65))
    (i32.store (i32.const 20) (i32.const 1))
    (return (call $result (i32.const 1) (i32.const 0) (i32.const 512) (i32.const 0)))))
