-- 1: amounts by line number
SELECT ol_number, sum(ol_quantity) AS sum_qty, sum(ol_amount) AS sum_amount, avg(ol_quantity) AS avg_qty, avg(ol_amount) AS avg_amount, count(*) AS count_order
FROM orderline WHERE ol_delivery_d > '2007-01-02 00:00:00.000000' GROUP BY ol_number ORDER BY ol_number;
-- 2: supplier with the least stock of an item
SELECT su_suppkey, su_name, n_name, i_id, i_name, su_address, su_phone, su_comment
FROM item, supplier, stock, nation, region,
    (SELECT s_i_id AS m_i_id, min(s_quantity) AS m_s_quantity FROM stock, supplier, nation, region
     WHERE mod(s_w_id * s_i_id, 100) = su_suppkey AND su_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name LIKE 'EUROP%' GROUP BY s_i_id) m
WHERE i_id = s_i_id AND mod(s_w_id * s_i_id, 100) = su_suppkey AND su_nationkey = n_nationkey AND n_regionkey = r_regionkey AND i_data LIKE '%b'
    AND r_name LIKE 'EUROP%' AND i_id = m_i_id AND s_quantity = m_s_quantity
ORDER BY n_name, su_name, i_id;
-- 3: orders not yet delivered
SELECT ol_o_id, ol_w_id, ol_d_id, sum(ol_amount) AS revenue, o_entry_d FROM customer, neworder, orders, orderline
WHERE c_state LIKE 'A%' AND c_id = o_c_id AND c_w_id = o_w_id AND c_d_id = o_d_id AND no_w_id = o_w_id AND no_d_id = o_d_id AND no_o_id = o_id
    AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id AND o_entry_d > '2007-01-02 00:00:00.000000'
GROUP BY ol_o_id, ol_w_id, ol_d_id, o_entry_d ORDER BY revenue DESC, o_entry_d, ol_w_id, ol_d_id, ol_o_id;
-- 4: orders delivered late
SELECT o_ol_cnt, count(*) AS order_count FROM orders
WHERE o_entry_d >= '2007-01-02 00:00:00.000000' AND o_entry_d < '2012-01-02 00:00:00.000000'
    AND EXISTS (SELECT * FROM orderline WHERE o_id = ol_o_id AND o_w_id = ol_w_id AND o_d_id = ol_d_id AND ol_delivery_d >= o_entry_d)
GROUP BY o_ol_cnt ORDER BY o_ol_cnt;
-- 5: revenue by nation, of local suppliers
SELECT n_name, sum(ol_amount) AS revenue FROM customer, orders, orderline, stock, supplier, nation, region
WHERE c_id = o_c_id AND c_w_id = o_w_id AND c_d_id = o_d_id AND ol_o_id = o_id AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_w_id = s_w_id
    AND ol_i_id = s_i_id AND mod(s_w_id * s_i_id, 100) = su_suppkey AND ascii(substr(c_state, 1, 1)) = su_nationkey + 65 AND su_nationkey = n_nationkey
    AND n_regionkey = r_regionkey AND r_name = 'EUROPE' AND o_entry_d >= '2007-01-02 00:00:00.000000'
GROUP BY n_name ORDER BY revenue DESC;
-- 6: revenue of deliveries
SELECT sum(ol_amount) AS revenue FROM orderline
WHERE ol_delivery_d >= '1999-01-01 00:00:00.000000' AND ol_delivery_d < '2020-01-01 00:00:00.000000' AND ol_quantity BETWEEN 1 AND 100000;
-- 7: trade between two nations
SELECT su_nationkey AS supp_nation, substr(c_state, 1, 1) AS cust_nation, extract(year FROM o_entry_d) AS l_year, sum(ol_amount) AS revenue
FROM supplier, stock, orderline, orders, customer, nation n1, nation n2
WHERE ol_supply_w_id = s_w_id AND ol_i_id = s_i_id AND mod(s_w_id * s_i_id, 100) = su_suppkey AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
    AND c_id = o_c_id AND c_w_id = o_w_id AND c_d_id = o_d_id AND su_nationkey = n1.n_nationkey AND ascii(substr(c_state, 1, 1)) = n2.n_nationkey + 65
    AND ((n1.n_name = 'GERMANY' AND n2.n_name = 'CHINA') OR (n1.n_name = 'CHINA' AND n2.n_name = 'GERMANY'))
    AND ol_delivery_d BETWEEN '2007-01-02 00:00:00.000000' AND '2012-01-02 00:00:00.000000'
GROUP BY su_nationkey, substr(c_state, 1, 1), extract(year FROM o_entry_d) ORDER BY su_nationkey, cust_nation, l_year;
-- 8: market share of a nation
SELECT extract(year FROM o_entry_d) AS l_year, sum(CASE WHEN n2.n_name = 'GERMANY' THEN ol_amount ELSE 0 END) / sum(ol_amount) AS mkt_share
FROM item, supplier, stock, orderline, orders, customer, nation n1, nation n2, region
WHERE i_id = s_i_id AND ol_i_id = s_i_id AND ol_supply_w_id = s_w_id AND mod(s_w_id * s_i_id, 100) = su_suppkey AND ol_w_id = o_w_id AND ol_d_id = o_d_id
    AND ol_o_id = o_id AND c_id = o_c_id AND c_w_id = o_w_id AND c_d_id = o_d_id AND n1.n_nationkey = ascii(substr(c_state, 1, 1)) - 65
    AND n1.n_regionkey = r_regionkey AND ol_i_id < 1000 AND r_name = 'EUROPE' AND su_nationkey = n2.n_nationkey
    AND o_entry_d BETWEEN '2007-01-02 00:00:00.000000' AND '2012-01-02 00:00:00.000000' AND i_data LIKE '%b' AND i_id = ol_i_id
GROUP BY extract(year FROM o_entry_d) ORDER BY l_year;
-- 9: profit of a kind of item
SELECT n_name, extract(year FROM o_entry_d) AS l_year, sum(ol_amount) AS sum_profit FROM item, stock, supplier, orderline, orders, nation
WHERE ol_i_id = s_i_id AND ol_supply_w_id = s_w_id AND mod(s_w_id * s_i_id, 100) = su_suppkey AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
    AND ol_i_id = i_id AND su_nationkey = n_nationkey AND i_data LIKE '%bb'
GROUP BY n_name, extract(year FROM o_entry_d) ORDER BY n_name, l_year DESC;
-- 10: customers who waited
SELECT c_id, c_last, sum(ol_amount) AS revenue, c_city, c_phone, n_name FROM customer, orders, orderline, nation
WHERE c_id = o_c_id AND c_w_id = o_w_id AND c_d_id = o_d_id AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
    AND o_entry_d >= '2007-01-02 00:00:00.000000' AND o_entry_d <= ol_delivery_d AND n_nationkey = ascii(substr(c_state, 1, 1)) - 65
GROUP BY c_id, c_last, c_city, c_phone, n_name ORDER BY revenue DESC, c_id, c_phone;
-- 11: the most ordered stock of a nation's suppliers
SELECT s_i_id, sum(s_order_cnt) AS ordercount FROM stock, supplier, nation
WHERE mod(s_w_id * s_i_id, 100) = su_suppkey AND su_nationkey = n_nationkey AND n_name = 'GERMANY'
GROUP BY s_i_id HAVING sum(s_order_cnt) > (
    SELECT sum(s_order_cnt) * 0.005 FROM stock, supplier, nation
    WHERE mod(s_w_id * s_i_id, 100) = su_suppkey AND su_nationkey = n_nationkey AND n_name = 'GERMANY')
ORDER BY ordercount DESC, s_i_id;
-- 12: carriers by number of lines
SELECT o_ol_cnt, sum(CASE WHEN o_carrier_id = 1 OR o_carrier_id = 2 THEN 1 ELSE 0 END) AS high_line_count,
    sum(CASE WHEN o_carrier_id <> 1 AND o_carrier_id <> 2 THEN 1 ELSE 0 END) AS low_line_count
FROM orders, orderline
WHERE ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id AND o_entry_d <= ol_delivery_d AND ol_delivery_d < '2020-01-01 00:00:00.000000'
GROUP BY o_ol_cnt ORDER BY o_ol_cnt;
-- 13: customers by number of orders
SELECT c_count, count(*) AS custdist FROM (
    SELECT c_id, count(o_id) FROM customer LEFT OUTER JOIN orders ON c_w_id = o_w_id AND c_d_id = o_d_id AND c_id = o_c_id AND o_carrier_id > 8
    GROUP BY c_id) AS c_orders (c_id, c_count)
GROUP BY c_count ORDER BY custdist DESC, c_count DESC;
-- 14: effect of a promotion
SELECT 100.00 * sum(CASE WHEN i_data LIKE 'pr%' THEN ol_amount ELSE 0 END) / (1 + sum(ol_amount)) AS promo_revenue FROM orderline, item
WHERE ol_i_id = i_id AND ol_delivery_d >= '2007-01-02 00:00:00.000000' AND ol_delivery_d < '2020-01-02 00:00:00.000000';
-- 15: the supplier of most revenue
WITH revenue (supplier_no, total_revenue) AS (
    SELECT mod(s_w_id * s_i_id, 100) AS supplier_no, sum(ol_amount) AS total_revenue FROM orderline, stock
    WHERE ol_i_id = s_i_id AND ol_supply_w_id = s_w_id AND ol_delivery_d >= '2007-01-02 00:00:00.000000' GROUP BY mod(s_w_id * s_i_id, 100))
SELECT su_suppkey, su_name, su_address, su_phone, total_revenue FROM supplier, revenue
WHERE su_suppkey = supplier_no AND total_revenue = (SELECT max(total_revenue) FROM revenue) ORDER BY su_suppkey;
-- 16: suppliers by kind of item
SELECT i_name, substr(i_data, 1, 3) AS brand, i_price, count(DISTINCT mod(s_w_id * s_i_id, 100)) AS supplier_cnt FROM stock, item
WHERE i_id = s_i_id AND i_data NOT LIKE 'zz%' AND mod(s_w_id * s_i_id, 100) NOT IN (SELECT su_suppkey FROM supplier WHERE su_comment LIKE '%bad%')
GROUP BY i_name, substr(i_data, 1, 3), i_price ORDER BY supplier_cnt DESC, i_name, brand, i_price;
-- 17: revenue of small orders
SELECT sum(ol_amount) / 2.0 AS avg_yearly FROM orderline, (
    SELECT i_id, avg(ol_quantity) AS a FROM item, orderline WHERE i_data LIKE '%b' AND ol_i_id = i_id GROUP BY i_id) t
WHERE ol_i_id = t.i_id AND ol_quantity < t.a;
-- 18: large orders
SELECT c_last, c_id, o_id, o_entry_d, o_ol_cnt, sum(ol_amount) FROM customer, orders, orderline
WHERE c_id = o_c_id AND c_w_id = o_w_id AND c_d_id = o_d_id AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
GROUP BY o_id, o_w_id, o_d_id, c_id, c_last, o_entry_d, o_ol_cnt HAVING sum(ol_amount) > 200
ORDER BY sum(ol_amount) DESC, o_entry_d, o_w_id, o_d_id, o_id;
-- 19: revenue of some kinds of items
SELECT sum(ol_amount) AS revenue FROM orderline, item
WHERE (ol_i_id = i_id AND i_data LIKE '%a' AND ol_quantity >= 1 AND ol_quantity <= 10 AND i_price BETWEEN 1 AND 400000 AND ol_w_id IN (1, 2, 3))
    OR (ol_i_id = i_id AND i_data LIKE '%b' AND ol_quantity >= 1 AND ol_quantity <= 10 AND i_price BETWEEN 1 AND 400000 AND ol_w_id IN (1, 2, 4))
    OR (ol_i_id = i_id AND i_data LIKE '%c' AND ol_quantity >= 1 AND ol_quantity <= 10 AND i_price BETWEEN 1 AND 400000 AND ol_w_id IN (1, 5, 3));
-- 20: suppliers with too much stock
SELECT su_name, su_address FROM supplier, nation
WHERE su_suppkey IN (
        SELECT mod(s_i_id * s_w_id, 100) FROM stock, orderline
        WHERE s_i_id IN (SELECT i_id FROM item WHERE i_data LIKE 'co%') AND ol_i_id = s_i_id AND ol_delivery_d > '2010-05-23 12:00:00'
        GROUP BY s_i_id, s_w_id, s_quantity HAVING 2 * s_quantity > sum(ol_quantity))
    AND su_nationkey = n_nationkey AND n_name = 'GERMANY' ORDER BY su_name;
-- 21: suppliers who kept orders waiting
SELECT su_name, count(*) AS numwait FROM supplier, orderline l1, orders, stock, nation
WHERE ol_o_id = o_id AND ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_w_id = s_w_id AND ol_i_id = s_i_id AND mod(s_w_id * s_i_id, 100) = su_suppkey
    AND l1.ol_delivery_d > o_entry_d
    AND NOT EXISTS (SELECT * FROM orderline l2 WHERE l2.ol_o_id = l1.ol_o_id AND l2.ol_w_id = l1.ol_w_id AND l2.ol_d_id = l1.ol_d_id AND l2.ol_delivery_d > l1.ol_delivery_d)
    AND su_nationkey = n_nationkey AND n_name = 'GERMANY'
GROUP BY su_name ORDER BY numwait DESC, su_name;
-- 22: customers who ordered nothing
SELECT substr(c_state, 1, 1) AS country, count(*) AS numcust, sum(c_balance) AS totacctbal FROM customer
WHERE substr(c_phone, 1, 1) IN ('1', '2', '3', '4', '5', '6', '7')
    AND c_balance > (SELECT avg(c_balance) FROM customer WHERE c_balance > 0.00 AND substr(c_phone, 1, 1) IN ('1', '2', '3', '4', '5', '6', '7'))
    AND NOT EXISTS (SELECT * FROM orders WHERE o_c_id = c_id AND o_w_id = c_w_id AND o_d_id = c_d_id)
GROUP BY substr(c_state, 1, 1) ORDER BY substr(c_state, 1, 1);
