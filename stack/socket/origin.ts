/**
 * Origins: base classes that make an object of their own, or take one that exists. Node's constructors are functions, which
 * older programs call with `this`; with these a class can be laid over such an object, private fields and all.
 *
 * They are classes, not functions that construct: a function has made an object already when it begins, and where two constructors
 * in turn make one for the same class the engine starts its hidden classes anew for each object, some kilobytes of them.
 */
import { EventEmitter } from 'node:events'
import { Duplex, type DuplexOptions } from 'node:stream'

type Callable = (this: unknown, options?: unknown) => void

/** An EventEmitter, new or laid over `target`. */
export class EmitterOrigin extends EventEmitter {
  // biome-ignore lint/correctness/noUnreachableSuper: where `target` is the object none is made
  constructor(target?: EventEmitter) {
    if (target !== undefined) {
      Reflect.apply(EventEmitter as unknown as Callable, target, [])
      // biome-ignore lint/correctness/noConstructorReturn: it stands for the object
      return target as EmitterOrigin
    }
    super()
  }
}

/** A Duplex, new or laid over `target`. */
export class DuplexOrigin extends Duplex {
  // biome-ignore lint/correctness/noUnreachableSuper: where `target` is the object none is made
  constructor(options: DuplexOptions, target?: Duplex) {
    if (target !== undefined) {
      Reflect.apply(Duplex as unknown as Callable, target, [options])
      // biome-ignore lint/correctness/noConstructorReturn: it stands for the object
      return target as DuplexOrigin
    }
    super(options)
  }
}
