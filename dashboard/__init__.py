"""The Streamlit app: `streamlit run dashboard/Home.py`."""
