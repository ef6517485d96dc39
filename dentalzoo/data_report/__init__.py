"""What is in a data set and what is wrong with it, as a page that opens in a browser.

docs/checking_data.md has what each finding means and what to do.
"""

from dentalzoo.data_report.report import report_data as report_data
