import type { TableComparison } from '../test/fixtures/compare-databases.ts';
import type { ShopSize } from '../test/fixtures/shop/schema.ts';
import type { ShopWorkload, WorkloadOptions } from '../test/fixtures/shop/writers.ts';

/** Of what the shop's database is. */
export const SOURCES = ['postgres', 'mysql', 'mariadb'] as const;
export type DemoSource = (typeof SOURCES)[number];

/** Servers of a demo that run, with an empty database for the shop. Disposing ends them. */
export interface DemoStand extends AsyncDisposable {
  /** `port 5432` */
  readonly place: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** The shop's orders, as the log names them. */
  readonly orders: string;
  /** Addresses to play with, for clients. */
  readonly urls: readonly string[];
  createShop(size: ShopSize): Promise<void>;
  startWorkload(options: Omit<WorkloadOptions, 'url'>): ShopWorkload;
  /** Where the source is now: for people, and as `wait` takes it. */
  position(): Promise<{ readonly shown: string; readonly token: string }>;
  /** Every row of the shop beside what the sinks have. */
  compare(): Promise<TableComparison[]>;
}

export interface StandBuilder {
  /** What is started, in words. */
  readonly opening: string;
  /** An abort ends what has been started so far. */
  open(signal: AbortSignal): Promise<DemoStand>;
}
