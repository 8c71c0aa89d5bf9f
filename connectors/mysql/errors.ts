/** Errors of servers, as the connector's files know them. */
export { mysqlError, serverErrorNumber } from '../../contracts/types/mysql-errors.ts';
