/** What every relational shadow is. */
export { ShadowSink } from '../../relational/shadow-sink.ts';
