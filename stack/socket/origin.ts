/**
 * Origins: base classes that make an object of their own, or take one that exists. Node's constructors are functions, which
 * older programs call with `this`; with these a class can be laid over such an object, private fields and all.
 */
import { EventEmitter } from 'node:events'
import { Duplex, type DuplexOptions } from 'node:stream'

type Callable = (this: unknown, options?: unknown) => void

function emitterOrigin(target?: EventEmitter): unknown {
  if (target === undefined) return Reflect.construct(EventEmitter, [], new.target as never)
  Reflect.apply(EventEmitter as unknown as Callable, target, [])
  return target
}
emitterOrigin.prototype = EventEmitter.prototype

function duplexOrigin(options: DuplexOptions, target?: Duplex): unknown {
  if (target === undefined) return Reflect.construct(Duplex, [options], new.target as never)
  Reflect.apply(Duplex as unknown as Callable, target, [options])
  return target
}
duplexOrigin.prototype = Duplex.prototype

/** An EventEmitter, new or laid over `target`. */
export const EmitterOrigin = emitterOrigin as unknown as new (target?: EventEmitter) => EventEmitter

/** A Duplex, new or laid over `target`. */
export const DuplexOrigin = duplexOrigin as unknown as new (
  options: DuplexOptions,
  target?: Duplex,
) => Duplex
