export * from '../../contracts/types/postgres-address.ts';
